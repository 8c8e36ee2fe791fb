"""MQTT topic names and filters (MQTT 5.0, section 4.7)."""

from functools import lru_cache


@lru_cache(maxsize=4096)
def matches(topic_filter: str, topic: str) -> bool:
    """Whether a filter with ``+`` and ``#`` covers a topic name."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def is_name(topic: str) -> bool:
    """Whether something can be published there."""
    return bool(topic) and not set(topic) & {"+", "#", "\0"}


def is_filter(topic_filter: str) -> bool:
    """Whether something can be subscribed to with it."""
    levels = topic_filter.split("/")
    if not topic_filter or "\0" in topic_filter or any("#" in level for level in levels[:-1]):
        return False
    if "#" in levels[-1] and levels[-1] != "#":
        return False
    return all("+" not in level or level == "+" for level in levels)
