"""Configuration by type and key, without a service in between: ``/<type>/<key>`` → a JSON value."""

from kvconfig.config.client import Config, ConfigItem
from kvconfig.config.schema import Schema

__all__ = ["Config", "ConfigItem", "Schema"]
