from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HistoryKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HISTORY_KIND_UNSPECIFIED: _ClassVar[HistoryKind]
    HISTORY_KIND_FLOW: _ClassVar[HistoryKind]
    HISTORY_KIND_FLOW_BLUEPRINT: _ClassVar[HistoryKind]
    HISTORY_KIND_PARAMETER_TYPE: _ClassVar[HistoryKind]
HISTORY_KIND_UNSPECIFIED: HistoryKind
HISTORY_KIND_FLOW: HistoryKind
HISTORY_KIND_FLOW_BLUEPRINT: HistoryKind
HISTORY_KIND_PARAMETER_TYPE: HistoryKind

class Done(_message.Message):
    __slots__ = ("op", "revision", "round_trips", "findings", "conflicts")
    OP_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIPS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    op: str
    revision: int
    round_trips: int
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    conflicts: int
    def __init__(self, op: _Optional[str] = ..., revision: _Optional[int] = ..., round_trips: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., conflicts: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("flow", "blueprint_name", "description", "parameters", "workspace", "op", "by", "why", "resent", "check_revision", "strict")
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
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    blueprint_name: str
    description: str
    parameters: _containers.ScalarMap[str, str]
    workspace: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, flow: _Optional[str] = ..., blueprint_name: _Optional[str] = ..., description: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., workspace: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class StopFlowRequest(_message.Message):
    __slots__ = ("flow", "op", "by", "why", "resent", "check_revision", "strict")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, flow: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

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
    __slots__ = ("id", "description", "blueprint_name", "interfaces", "parameters", "own_variants", "shared_variants", "op", "revision", "version", "paused", "given", "workspace")
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
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
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
    given: Given
    workspace: str
    def __init__(self, id: _Optional[str] = ..., description: _Optional[str] = ..., blueprint_name: _Optional[str] = ..., interfaces: _Optional[_Mapping[str, Interface]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., own_variants: _Optional[_Iterable[str]] = ..., shared_variants: _Optional[_Iterable[str]] = ..., op: _Optional[str] = ..., revision: _Optional[int] = ..., version: _Optional[int] = ..., paused: _Optional[_Union[Paused, _Mapping]] = ..., given: _Optional[_Union[Given, _Mapping]] = ..., workspace: _Optional[str] = ...) -> None: ...

class Given(_message.Message):
    __slots__ = ("parameters",)
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    parameters: _containers.ScalarMap[str, str]
    def __init__(self, parameters: _Optional[_Mapping[str, str]] = ...) -> None: ...

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
    __slots__ = ("name", "definition", "op", "by", "why", "resent", "check_revision", "strict", "force", "only_new")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    ONLY_NEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    definition: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    force: bool
    only_new: bool
    def __init__(self, name: _Optional[str] = ..., definition: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ..., force: bool = ..., only_new: bool = ...) -> None: ...

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
    __slots__ = ("name", "definition", "op", "by", "why", "resent", "check_revision", "strict", "force", "only_new")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    ONLY_NEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    definition: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    force: bool
    only_new: bool
    def __init__(self, name: _Optional[str] = ..., definition: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ..., force: bool = ..., only_new: bool = ...) -> None: ...

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

class UpdateFlowRequest(_message.Message):
    __slots__ = ("flow", "parameters", "reset", "blueprint_name", "description", "op", "by", "why", "resent", "check_revision", "strict")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FLOW_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    parameters: _containers.ScalarMap[str, str]
    reset: _containers.RepeatedScalarFieldContainer[str]
    blueprint_name: str
    description: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, flow: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., reset: _Optional[_Iterable[str]] = ..., blueprint_name: _Optional[str] = ..., description: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class PauseFlowRequest(_message.Message):
    __slots__ = ("flow", "op", "by", "why", "resent", "check_revision", "strict")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, flow: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class ResumeFlowRequest(_message.Message):
    __slots__ = ("flow", "op", "by", "why", "resent", "check_revision", "strict")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, flow: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class RestartFlowRequest(_message.Message):
    __slots__ = ("flow", "op", "by", "why", "resent", "check_revision", "strict")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, flow: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class RollBackFlowRequest(_message.Message):
    __slots__ = ("flow", "to", "op", "by", "why", "resent", "check_revision", "strict")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    flow: str
    to: str
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, flow: _Optional[str] = ..., to: _Optional[str] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class RollOutRequest(_message.Message):
    __slots__ = ("blueprint_name", "parameters", "reset", "op", "by", "why", "resent", "check_revision", "strict")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    BLUEPRINT_NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    blueprint_name: str
    parameters: _containers.ScalarMap[str, str]
    reset: _containers.RepeatedScalarFieldContainer[str]
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, blueprint_name: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., reset: _Optional[_Iterable[str]] = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class DeleteBlueprintRequest(_message.Message):
    __slots__ = ("name", "force", "op", "by", "why", "resent", "check_revision", "strict")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, name: _Optional[str] = ..., force: bool = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class DeleteParameterTypeRequest(_message.Message):
    __slots__ = ("name", "force", "op", "by", "why", "resent", "check_revision", "strict")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, name: _Optional[str] = ..., force: bool = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class RollBackBlueprintRequest(_message.Message):
    __slots__ = ("name", "to", "force", "op", "by", "why", "resent", "check_revision", "strict")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    name: str
    to: str
    force: bool
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, name: _Optional[str] = ..., to: _Optional[str] = ..., force: bool = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class RollBackParameterTypeRequest(_message.Message):
    __slots__ = ("name", "to", "force", "op", "by", "why", "resent", "check_revision", "strict")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    name: str
    to: str
    force: bool
    op: str
    by: str
    why: str
    resent: bool
    check_revision: int
    strict: bool
    def __init__(self, name: _Optional[str] = ..., to: _Optional[str] = ..., force: bool = ..., op: _Optional[str] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., resent: bool = ..., check_revision: _Optional[int] = ..., strict: bool = ...) -> None: ...

class PreviewRequest(_message.Message):
    __slots__ = ("start_flow", "stop_flow", "update_flow", "pause_flow", "resume_flow", "roll_back_flow", "roll_out", "put_blueprint", "delete_blueprint", "roll_back_blueprint", "put_parameter_type", "delete_parameter_type", "roll_back_parameter_type")
    START_FLOW_FIELD_NUMBER: _ClassVar[int]
    STOP_FLOW_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FLOW_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FLOW_FIELD_NUMBER: _ClassVar[int]
    RESUME_FLOW_FIELD_NUMBER: _ClassVar[int]
    ROLL_BACK_FLOW_FIELD_NUMBER: _ClassVar[int]
    ROLL_OUT_FIELD_NUMBER: _ClassVar[int]
    PUT_BLUEPRINT_FIELD_NUMBER: _ClassVar[int]
    DELETE_BLUEPRINT_FIELD_NUMBER: _ClassVar[int]
    ROLL_BACK_BLUEPRINT_FIELD_NUMBER: _ClassVar[int]
    PUT_PARAMETER_TYPE_FIELD_NUMBER: _ClassVar[int]
    DELETE_PARAMETER_TYPE_FIELD_NUMBER: _ClassVar[int]
    ROLL_BACK_PARAMETER_TYPE_FIELD_NUMBER: _ClassVar[int]
    start_flow: StartFlowRequest
    stop_flow: StopFlowRequest
    update_flow: UpdateFlowRequest
    pause_flow: PauseFlowRequest
    resume_flow: ResumeFlowRequest
    roll_back_flow: RollBackFlowRequest
    roll_out: RollOutRequest
    put_blueprint: PutBlueprintRequest
    delete_blueprint: DeleteBlueprintRequest
    roll_back_blueprint: RollBackBlueprintRequest
    put_parameter_type: PutParameterTypeRequest
    delete_parameter_type: DeleteParameterTypeRequest
    roll_back_parameter_type: RollBackParameterTypeRequest
    def __init__(self, start_flow: _Optional[_Union[StartFlowRequest, _Mapping]] = ..., stop_flow: _Optional[_Union[StopFlowRequest, _Mapping]] = ..., update_flow: _Optional[_Union[UpdateFlowRequest, _Mapping]] = ..., pause_flow: _Optional[_Union[PauseFlowRequest, _Mapping]] = ..., resume_flow: _Optional[_Union[ResumeFlowRequest, _Mapping]] = ..., roll_back_flow: _Optional[_Union[RollBackFlowRequest, _Mapping]] = ..., roll_out: _Optional[_Union[RollOutRequest, _Mapping]] = ..., put_blueprint: _Optional[_Union[PutBlueprintRequest, _Mapping]] = ..., delete_blueprint: _Optional[_Union[DeleteBlueprintRequest, _Mapping]] = ..., roll_back_blueprint: _Optional[_Union[RollBackBlueprintRequest, _Mapping]] = ..., put_parameter_type: _Optional[_Union[PutParameterTypeRequest, _Mapping]] = ..., delete_parameter_type: _Optional[_Union[DeleteParameterTypeRequest, _Mapping]] = ..., roll_back_parameter_type: _Optional[_Union[RollBackParameterTypeRequest, _Mapping]] = ...) -> None: ...

class PreviewResponse(_message.Message):
    __slots__ = ("text", "txn", "changes", "check_revision", "findings")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TXN_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    CHECK_REVISION_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    text: str
    txn: str
    changes: _containers.RepeatedCompositeFieldContainer[VariantChange]
    check_revision: int
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, text: _Optional[str] = ..., txn: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[VariantChange, _Mapping]]] = ..., check_revision: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class VariantChange(_message.Message):
    __slots__ = ("processor", "variant", "before", "after")
    PROCESSOR_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    processor: str
    variant: str
    before: str
    after: str
    def __init__(self, processor: _Optional[str] = ..., variant: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("kind", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: HistoryKind
    name: str
    def __init__(self, kind: _Optional[_Union[HistoryKind, str]] = ..., name: _Optional[str] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ...) -> None: ...

class HistoryEntry(_message.Message):
    __slots__ = ("op", "revision", "action", "by", "at", "why", "after")
    OP_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    op: str
    revision: int
    action: str
    by: str
    at: str
    why: str
    after: str
    def __init__(self, op: _Optional[str] = ..., revision: _Optional[int] = ..., action: _Optional[str] = ..., by: _Optional[str] = ..., at: _Optional[str] = ..., why: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class PruneHistoryRequest(_message.Message):
    __slots__ = ("kind", "name", "older_than_s", "dry_run")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OLDER_THAN_S_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    kind: HistoryKind
    name: str
    older_than_s: float
    dry_run: bool
    def __init__(self, kind: _Optional[_Union[HistoryKind, str]] = ..., name: _Optional[str] = ..., older_than_s: _Optional[float] = ..., dry_run: bool = ...) -> None: ...

class PruneHistoryResponse(_message.Message):
    __slots__ = ("removed", "found")
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    removed: int
    found: int
    def __init__(self, removed: _Optional[int] = ..., found: _Optional[int] = ...) -> None: ...

class GetFlowStatusRequest(_message.Message):
    __slots__ = ("flow",)
    FLOW_FIELD_NUMBER: _ClassVar[int]
    flow: str
    def __init__(self, flow: _Optional[str] = ...) -> None: ...

class ListFlowStatusesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFlowStatusesResponse(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[FlowStatus]
    def __init__(self, statuses: _Optional[_Iterable[_Union[FlowStatus, _Mapping]]] = ...) -> None: ...

class GetProcessorRequest(_message.Message):
    __slots__ = ("processor",)
    PROCESSOR_FIELD_NUMBER: _ClassVar[int]
    processor: str
    def __init__(self, processor: _Optional[str] = ...) -> None: ...

class ListProcessorsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListProcessorsResponse(_message.Message):
    __slots__ = ("processors",)
    PROCESSORS_FIELD_NUMBER: _ClassVar[int]
    processors: _containers.RepeatedCompositeFieldContainer[ProcessorStatus]
    def __init__(self, processors: _Optional[_Iterable[_Union[ProcessorStatus, _Mapping]]] = ...) -> None: ...

class ProcessorStatus(_message.Message):
    __slots__ = ("processor", "state", "desired", "running", "instances", "variants")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[ProcessorStatus.State]
        STATE_IDLE: _ClassVar[ProcessorStatus.State]
        STATE_MISSING: _ClassVar[ProcessorStatus.State]
        STATE_STARTING: _ClassVar[ProcessorStatus.State]
        STATE_RUNNING: _ClassVar[ProcessorStatus.State]
        STATE_DEGRADED: _ClassVar[ProcessorStatus.State]
        STATE_FAILED: _ClassVar[ProcessorStatus.State]
    STATE_UNSPECIFIED: ProcessorStatus.State
    STATE_IDLE: ProcessorStatus.State
    STATE_MISSING: ProcessorStatus.State
    STATE_STARTING: ProcessorStatus.State
    STATE_RUNNING: ProcessorStatus.State
    STATE_DEGRADED: ProcessorStatus.State
    STATE_FAILED: ProcessorStatus.State
    PROCESSOR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    processor: str
    state: ProcessorStatus.State
    desired: int
    running: int
    instances: _containers.RepeatedCompositeFieldContainer[ProcessorInstance]
    variants: _containers.RepeatedCompositeFieldContainer[VariantStatus]
    def __init__(self, processor: _Optional[str] = ..., state: _Optional[_Union[ProcessorStatus.State, str]] = ..., desired: _Optional[int] = ..., running: _Optional[int] = ..., instances: _Optional[_Iterable[_Union[ProcessorInstance, _Mapping]]] = ..., variants: _Optional[_Iterable[_Union[VariantStatus, _Mapping]]] = ...) -> None: ...

class ProcessorInstance(_message.Message):
    __slots__ = ("instance", "observed_revision", "pending", "failed", "host", "started", "version", "leaving")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_REVISION_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    instance: str
    observed_revision: int
    pending: int
    failed: int
    host: str
    started: str
    version: str
    leaving: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, instance: _Optional[str] = ..., observed_revision: _Optional[int] = ..., pending: _Optional[int] = ..., failed: _Optional[int] = ..., host: _Optional[str] = ..., started: _Optional[str] = ..., version: _Optional[str] = ..., leaving: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchFlowsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FlowStatus(_message.Message):
    __slots__ = ("flow", "state", "revision", "variants", "missing")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[FlowStatus.State]
        STATE_STARTING: _ClassVar[FlowStatus.State]
        STATE_RUNNING: _ClassVar[FlowStatus.State]
        STATE_DEGRADED: _ClassVar[FlowStatus.State]
        STATE_FAILED: _ClassVar[FlowStatus.State]
        STATE_PAUSED: _ClassVar[FlowStatus.State]
        STATE_STOPPED: _ClassVar[FlowStatus.State]
    STATE_UNSPECIFIED: FlowStatus.State
    STATE_STARTING: FlowStatus.State
    STATE_RUNNING: FlowStatus.State
    STATE_DEGRADED: FlowStatus.State
    STATE_FAILED: FlowStatus.State
    STATE_PAUSED: FlowStatus.State
    STATE_STOPPED: FlowStatus.State
    FLOW_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    flow: str
    state: FlowStatus.State
    revision: int
    variants: _containers.RepeatedCompositeFieldContainer[VariantStatus]
    missing: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, flow: _Optional[str] = ..., state: _Optional[_Union[FlowStatus.State, str]] = ..., revision: _Optional[int] = ..., variants: _Optional[_Iterable[_Union[VariantStatus, _Mapping]]] = ..., missing: _Optional[_Iterable[str]] = ...) -> None: ...

class VariantStatus(_message.Message):
    __slots__ = ("name", "shared", "state", "revision", "instances", "error")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[VariantStatus.State]
        STATE_STARTING: _ClassVar[VariantStatus.State]
        STATE_RUNNING: _ClassVar[VariantStatus.State]
        STATE_DEGRADED: _ClassVar[VariantStatus.State]
        STATE_FAILED: _ClassVar[VariantStatus.State]
    STATE_UNSPECIFIED: VariantStatus.State
    STATE_STARTING: VariantStatus.State
    STATE_RUNNING: VariantStatus.State
    STATE_DEGRADED: VariantStatus.State
    STATE_FAILED: VariantStatus.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    shared: bool
    state: VariantStatus.State
    revision: int
    instances: _containers.RepeatedCompositeFieldContainer[InstanceReport]
    error: str
    def __init__(self, name: _Optional[str] = ..., shared: bool = ..., state: _Optional[_Union[VariantStatus.State, str]] = ..., revision: _Optional[int] = ..., instances: _Optional[_Iterable[_Union[InstanceReport, _Mapping]]] = ..., error: _Optional[str] = ...) -> None: ...

class InstanceReport(_message.Message):
    __slots__ = ("instance", "state", "observed_revision", "error", "attempts", "since")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[InstanceReport.State]
        STATE_STARTING: _ClassVar[InstanceReport.State]
        STATE_RUNNING: _ClassVar[InstanceReport.State]
        STATE_FAILED: _ClassVar[InstanceReport.State]
    STATE_UNSPECIFIED: InstanceReport.State
    STATE_STARTING: InstanceReport.State
    STATE_RUNNING: InstanceReport.State
    STATE_FAILED: InstanceReport.State
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_REVISION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    instance: str
    state: InstanceReport.State
    observed_revision: int
    error: str
    attempts: int
    since: str
    def __init__(self, instance: _Optional[str] = ..., state: _Optional[_Union[InstanceReport.State, str]] = ..., observed_revision: _Optional[int] = ..., error: _Optional[str] = ..., attempts: _Optional[int] = ..., since: _Optional[str] = ...) -> None: ...
