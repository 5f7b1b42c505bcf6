from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Done(_message.Message):
    __slots__ = ("op", "revision", "round_trips", "findings")
    OP_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIPS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    op: str
    revision: int
    round_trips: int
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, op: _Optional[str] = ..., revision: _Optional[int] = ..., round_trips: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("path", "message", "severity")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SEVERITY_UNSPECIFIED: _ClassVar[Finding.Severity]
        SEVERITY_ERROR: _ClassVar[Finding.Severity]
        SEVERITY_WARNING: _ClassVar[Finding.Severity]
    SEVERITY_UNSPECIFIED: Finding.Severity
    SEVERITY_ERROR: Finding.Severity
    SEVERITY_WARNING: Finding.Severity
    PATH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    path: str
    message: str
    severity: Finding.Severity
    def __init__(self, path: _Optional[str] = ..., message: _Optional[str] = ..., severity: _Optional[_Union[Finding.Severity, str]] = ...) -> None: ...

class StartFlowRequest(_message.Message):
    __slots__ = ("flow", "blueprint_name", "description", "parameters", "workspace", "op", "by", "why", "resent")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FLOW_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    blueprint_name: str
    description: str
    parameters: _containers.ScalarMap[str, str]
    workspace: str
    op: str
    by: str
    why: str
    resent: bool
    def __init__(self, flow: _Optional[str] = ..., blueprint_name: _Optional[str] = ..., description: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., workspace: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ...) -> None: ...

class StopFlowRequest(_message.Message):
    __slots__ = ("flow", "op", "by", "why", "resent")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    op: str
    by: str
    why: str
    resent: bool
    def __init__(self, flow: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ...) -> None: ...

class GetFlowRequest(_message.Message):
    __slots__ = ("flow",)
    FLOW_FIELD_NUMBER: _ClassVar[int]
    flow: str
    def __init__(self, flow: _Optional[str] = ...) -> None: ...

class ListFlowsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFlowsResponse(_message.Message):
    __slots__ = ("flows",)
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    flows: _containers.RepeatedCompositeFieldContainer[Flow]
    def __init__(self, flows: _Optional[_Iterable[_Union[Flow, _Mapping]]] = ...) -> None: ...

class Flow(_message.Message):
    __slots__ = ("id", "description", "blueprint_name", "interfaces", "parameters", "own_variants", "shared_variants", "op", "revision", "version", "paused")
    class InterfacesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Interface
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Interface, _Mapping]] = ...) -> None: ...
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_NAME_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    OWN_VARIANTS_FIELD_NUMBER: _ClassVar[int]
    SHARED_VARIANTS_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    id: str
    description: str
    blueprint_name: str
    interfaces: _containers.MessageMap[str, Interface]
    parameters: _containers.ScalarMap[str, str]
    own_variants: _containers.RepeatedScalarFieldContainer[str]
    shared_variants: _containers.RepeatedScalarFieldContainer[str]
    op: str
    revision: int
    version: int
    paused: Paused
    def __init__(self, id: _Optional[str] = ..., description: _Optional[str] = ..., blueprint_name: _Optional[str] = ..., interfaces: _Optional[_Mapping[str, Interface]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., own_variants: _Optional[_Iterable[str]] = ..., shared_variants: _Optional[_Iterable[str]] = ..., op: _Optional[str] = ..., revision: _Optional[int] = ..., version: _Optional[int] = ..., paused: _Optional[_Union[Paused, _Mapping]] = ...) -> None: ...

class Interface(_message.Message):
    __slots__ = ("topics",)
    class TopicsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.ScalarMap[str, str]
    def __init__(self, topics: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Paused(_message.Message):
    __slots__ = ("variants",)
    class VariantsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Variant
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Variant, _Mapping]] = ...) -> None: ...
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    variants: _containers.MessageMap[str, Variant]
    def __init__(self, variants: _Optional[_Mapping[str, Variant]] = ...) -> None: ...

class Variant(_message.Message):
    __slots__ = ("topics", "parameters")
    class TopicsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.ScalarMap[str, str]
    parameters: _containers.ScalarMap[str, str]
    def __init__(self, topics: _Optional[_Mapping[str, str]] = ..., parameters: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PutBlueprintRequest(_message.Message):
    __slots__ = ("name", "definition", "op", "by", "why")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    name: str
    definition: str
    op: str
    by: str
    why: str
    def __init__(self, name: _Optional[str] = ..., definition: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class GetBlueprintRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListBlueprintsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBlueprintsResponse(_message.Message):
    __slots__ = ("blueprints",)
    BLUEPRINTS_FIELD_NUMBER: _ClassVar[int]
    blueprints: _containers.RepeatedCompositeFieldContainer[Blueprint]
    def __init__(self, blueprints: _Optional[_Iterable[_Union[Blueprint, _Mapping]]] = ...) -> None: ...

class Blueprint(_message.Message):
    __slots__ = ("name", "definition", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    definition: str
    revision: int
    def __init__(self, name: _Optional[str] = ..., definition: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class PutParameterTypeRequest(_message.Message):
    __slots__ = ("name", "definition", "op", "by", "why")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    name: str
    definition: str
    op: str
    by: str
    why: str
    def __init__(self, name: _Optional[str] = ..., definition: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class GetParameterTypeRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListParameterTypesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListParameterTypesResponse(_message.Message):
    __slots__ = ("parameter_types",)
    PARAMETER_TYPES_FIELD_NUMBER: _ClassVar[int]
    parameter_types: _containers.RepeatedCompositeFieldContainer[ParameterType]
    def __init__(self, parameter_types: _Optional[_Iterable[_Union[ParameterType, _Mapping]]] = ...) -> None: ...

class ParameterType(_message.Message):
    __slots__ = ("name", "definition", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    definition: str
    revision: int
    def __init__(self, name: _Optional[str] = ..., definition: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...
