from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Name(_message.Message):
    __slots__ = ("type", "key")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    type: str
    key: str
    def __init__(self, type: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("type", "key", "value", "revision", "version")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    type: str
    key: str
    value: str
    revision: int
    version: int
    def __init__(self, type: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[str] = ..., revision: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class Unreadable(_message.Message):
    __slots__ = ("type", "key", "raw", "reason", "path", "revision")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    type: str
    key: str
    raw: bytes
    reason: str
    path: str
    revision: int
    def __init__(self, type: _Optional[str] = ..., key: _Optional[str] = ..., raw: _Optional[bytes] = ..., reason: _Optional[str] = ..., path: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("names", "revision")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedCompositeFieldContainer[Name]
    revision: int
    def __init__(self, names: _Optional[_Iterable[_Union[Name, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("items", "revision", "unreadable")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    revision: int
    unreadable: _containers.RepeatedCompositeFieldContainer[Unreadable]
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., revision: _Optional[int] = ..., unreadable: _Optional[_Iterable[_Union[Unreadable, _Mapping]]] = ...) -> None: ...

class ListTypesRequest(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class ListTypesResponse(_message.Message):
    __slots__ = ("types", "revision")
    TYPES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    types: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    def __init__(self, types: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ("type", "under", "revision")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    UNDER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    type: str
    under: str
    revision: int
    def __init__(self, type: _Optional[str] = ..., under: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("keys", "revision", "unreadable")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    unreadable: _containers.RepeatedCompositeFieldContainer[Unreadable]
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ..., unreadable: _Optional[_Iterable[_Union[Unreadable, _Mapping]]] = ...) -> None: ...

class GetValuesRequest(_message.Message):
    __slots__ = ("type", "under", "revision")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    UNDER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    type: str
    under: str
    revision: int
    def __init__(self, type: _Optional[str] = ..., under: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class GetValuesResponse(_message.Message):
    __slots__ = ("items", "revision", "unreadable")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    revision: int
    unreadable: _containers.RepeatedCompositeFieldContainer[Unreadable]
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., revision: _Optional[int] = ..., unreadable: _Optional[_Iterable[_Union[Unreadable, _Mapping]]] = ...) -> None: ...

class GetEverythingRequest(_message.Message):
    __slots__ = ("types", "revision")
    TYPES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    types: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    def __init__(self, types: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ...) -> None: ...

class GetEverythingResponse(_message.Message):
    __slots__ = ("items", "revision", "unreadable")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    revision: int
    unreadable: _containers.RepeatedCompositeFieldContainer[Unreadable]
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., revision: _Optional[int] = ..., unreadable: _Optional[_Iterable[_Union[Unreadable, _Mapping]]] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("writes", "resent")
    class Write(_message.Message):
        __slots__ = ("type", "key", "value", "if_revision")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        IF_REVISION_FIELD_NUMBER: _ClassVar[int]
        type: str
        key: str
        value: str
        if_revision: int
        def __init__(self, type: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[str] = ..., if_revision: _Optional[int] = ...) -> None: ...
    WRITES_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    writes: _containers.RepeatedCompositeFieldContainer[PutRequest.Write]
    resent: bool
    def __init__(self, writes: _Optional[_Iterable[_Union[PutRequest.Write, _Mapping]]] = ..., resent: bool = ...) -> None: ...

class PutResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("writes", "resent")
    class Write(_message.Message):
        __slots__ = ("type", "key", "if_revision")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        KEY_FIELD_NUMBER: _ClassVar[int]
        IF_REVISION_FIELD_NUMBER: _ClassVar[int]
        type: str
        key: str
        if_revision: int
        def __init__(self, type: _Optional[str] = ..., key: _Optional[str] = ..., if_revision: _Optional[int] = ...) -> None: ...
    WRITES_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    writes: _containers.RepeatedCompositeFieldContainer[DeleteRequest.Write]
    resent: bool
    def __init__(self, writes: _Optional[_Iterable[_Union[DeleteRequest.Write, _Mapping]]] = ..., resent: bool = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("deleted", "revision", "missing")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    revision: int
    missing: _containers.RepeatedCompositeFieldContainer[Name]
    def __init__(self, deleted: _Optional[int] = ..., revision: _Optional[int] = ..., missing: _Optional[_Iterable[_Union[Name, _Mapping]]] = ...) -> None: ...

class PutSchemaRequest(_message.Message):
    __slots__ = ("type", "schema", "if_revision", "force")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    type: str
    schema: str
    if_revision: int
    force: bool
    def __init__(self, type: _Optional[str] = ..., schema: _Optional[str] = ..., if_revision: _Optional[int] = ..., force: bool = ...) -> None: ...

class PutSchemaResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class DeleteSchemaRequest(_message.Message):
    __slots__ = ("type",)
    TYPE_FIELD_NUMBER: _ClassVar[int]
    type: str
    def __init__(self, type: _Optional[str] = ...) -> None: ...

class DeleteSchemaResponse(_message.Message):
    __slots__ = ("deleted", "revision")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    revision: int
    def __init__(self, deleted: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class PutAppliedRequest(_message.Message):
    __slots__ = ("set", "keys", "if_revision", "resent")
    SET_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    RESENT_FIELD_NUMBER: _ClassVar[int]
    set: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    if_revision: int
    resent: bool
    def __init__(self, set: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., if_revision: _Optional[int] = ..., resent: bool = ...) -> None: ...

class PutAppliedResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class WatchConfigRequest(_message.Message):
    __slots__ = ("type", "key")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    type: str
    key: str
    def __init__(self, type: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class WatchConfigResponse(_message.Message):
    __slots__ = ("changes", "revision", "resync", "more")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESYNC_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    revision: int
    resync: bool
    more: bool
    def __init__(self, changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., revision: _Optional[int] = ..., resync: bool = ..., more: bool = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("key", "item", "error")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    key: str
    item: Item
    error: str
    def __init__(self, key: _Optional[str] = ..., item: _Optional[_Union[Item, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...
