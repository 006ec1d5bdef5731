"""YAML in which no key stands twice."""

from __future__ import annotations

import yaml

from vocalburst.gen.data.errors import InputDataError


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; here the second one is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                line = node.value[index][0].start_mark.line + 1
                raise InputDataError(f"the key {key!r} stands there twice, again on line {line}")
        return super().construct_mapping(node, deep)
