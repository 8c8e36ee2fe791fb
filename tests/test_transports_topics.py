import pytest

from stream.transports.topics import is_filter, is_name, matches


@pytest.mark.parametrize(
    ("topic_filter", "topic", "covered"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("+/+", "/a", True),
        ("+", "/a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
    ],
)
def test_filters_cover_topics_as_the_standard_says(
    topic_filter: str, topic: str, covered: bool
) -> None:
    assert matches(topic_filter, topic) is covered


def test_wildcards_stand_for_whole_levels_and_a_hash_stands_last() -> None:
    assert all(map(is_filter, ["#", "+", "a/+/#", "/", "a//b"]))
    assert not any(map(is_filter, ["", "a#", "a/#/b", "a+", "a/b+/c", "a\0"]))
    assert is_name("a/b")
    assert not any(map(is_name, ["", "a/+", "#", "a\0b"]))
