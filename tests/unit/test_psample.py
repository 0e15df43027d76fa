"""The configuration of psample sources, their combinations, and what is counted twice."""

import itertools
from fractions import Fraction

import pytest

from exporter.cache import LASTING_FIRST
from sampler import summary
from sampler.config import MAIN, Config, parse
from sampler.daemon.changes import changes
from sampler.daemon.linktable import Link
from sampler.daemon.wanted import Selector
from sampler.errors import ConfigError
from sampler.psample.combinations import AT_ONCE, COMBINATIONS_MAX, FIRST_ID, Combination, Combinations, Place
from sampler.psample.options import PsampleSource
from sampler.psample.overlap import twice

FLOW_EXPORTER = {"collector_set_id": 7, "targets": ["192.0.2.1:4739"]}
TARGETS = {"targets": ["192.0.2.1:4739"], "obs_domain_id": 3, "obs_point_id": 4}


def sources(*tables: dict, **others) -> tuple[PsampleSource, ...]:
    return parse({"psample": list(tables), **others}).psample


def test_sources_have_an_exporter_and_its_ids():
    main, flow = sources(
        {"group": 10},
        {"group": 11, "exporter": 7, "obs_point_id": 9, "direction": "ingress", "receive_buffer": 65536},
        exporter=TARGETS,
        flow_exporter=[FLOW_EXPORTER],
    )
    assert main == PsampleSource(10, MAIN, 3, 4)
    assert flow == PsampleSource(11, "collector-set-7", 0, 9, "ingress", 65536)
    assert sources() == ()


@pytest.mark.parametrize(
    ("tables", "others", "sentence"),
    [
        ([{}], {}, "psample 1: group is missing"),
        ([{"group": -1}], {}, "group = -1: must be a whole number"),
        ([{"group": 1}, {"group": 1}], {}, "psample 1: another table has this group"),
        ([{"group": 1, "exporter": 8}], {"flow_exporter": [FLOW_EXPORTER]}, "collector_set_id; there are: 7"),
        ([{"group": 1, "exporter": "main"}], {}, "leave it out: the main exporter is meant without it"),
        ([{"group": 1, "exporter": "x"}], {}, 'exporter = "x": must be a whole number'),
        ([{"group": 1}], {"flow_exporter": [FLOW_EXPORTER]}, "the main exporter does not run"),
        ([{"group": 1}], {"exporter": {"counts": "raw"}}, 'counts = "raw"'),
        ([{"group": 1, "direction": "egress"}], {}, 'must be one of "auto", "ingress"'),
        ([{"group": 1, "grup": 1}], {}, "did you mean group?"),
        ([{"group": 1, "receive_buffer": 1}], {}, "receive_buffer = 1: must be"),
    ],
)
def test_wrong_tables(tables: list[dict], others: dict, sentence: str):
    with pytest.raises(ConfigError, match="psample") as error:
        sources(*tables, **others)
    assert sentence in str(error.value)


def test_what_a_reload_says():
    before = Config(psample=(PsampleSource(1, MAIN), PsampleSource(2, MAIN)))
    after = Config(psample=(PsampleSource(2, MAIN, 5), PsampleSource(3, MAIN)))
    assert changes(before, after) == ["psample 1: removed", "psample 2.obs_domain_id: 0 → 5", "psample 3: added"]


def test_check_says_what_is_taken():
    document = {"flow_exporter": [FLOW_EXPORTER], "psample": [{"group": 10, "exporter": 7, "obs_point_id": 5}]}
    config = parse(document)
    (line,) = (line for line in summary.lines(config) if line.startswith("psample"))
    assert line.startswith(
        "psample group 10: its samples for collector-set-7; observation domain and point of the cookie"
    )
    assert line.endswith("0 and 5 without one")
    # Its samples come from elsewhere: no rule is missing.
    assert not [line for line in summary.warnings(config) if "no rule" in line]
    assert [line for line in summary.warnings(parse({"flow_exporter": [FLOW_EXPORTER]})) if "no rule" in line]


def test_shares_are_what_the_kernel_does():
    assert Combination(1, 10, False, 0, 0).share == Fraction(1, 10)
    assert Combination(1, 1, False, 0, 0).share == 1
    assert Combination(1, 2**32 - 1, True, 0, 0).share == 1
    # 32768 of 65535, which Open vSwitch writes as 32768 * 65537 of 2**32 - 1.
    assert Combination(1, 32768 * 65537, True, 0, 0).share == Fraction(32768 * 65537 + 1, 2**32)


def test_combinations_fill_the_lasting_generations():
    combinations = Combinations(itertools.count(FIRST_ID))
    made = [Combination(1, 1 + number, False, 0, number) for number in range(COMBINATIONS_MAX)]
    places = [combinations.place(combination) for combination in made]
    assert len(set(places)) == COMBINATIONS_MAX == len(combinations)
    assert places[0] == Place(LASTING_FIRST, 0)
    assert places[65] == Place(LASTING_FIRST + 1, 1)
    assert combinations.place(Combination(2, 1, False, 0, 0)) is None
    assert [combinations.place(combination) for combination in made] == places
    told = combinations.selectors(LASTING_FIRST + 1)
    assert [(item.rule, item.obs_point_id) for item in told] == [(rule, 64 + rule) for rule in range(64)]
    assert told[0].id == FIRST_ID + 64
    assert told[0].thinning == Fraction(1, 65)
    assert max(place.generation for place in places if place) == 2**16 - 1


def test_idle_combinations_make_room():
    combinations = Combinations(itertools.count(FIRST_ID))
    made = [Combination(1, 1, False, 0, number) for number in range(COMBINATIONS_MAX + 1)]
    for combination in made:
        combinations.place(combination)
    ids = [selector.id for _, selector in combinations.items()]
    assert combinations.make_room(dict.fromkeys(ids, 5)) == set()
    # All but two have more samples now.
    counts = {number: 5 if number in (ids[3], ids[200]) else 6 for number in ids}
    assert combinations.make_room(counts) == {LASTING_FIRST, LASTING_FIRST + 3}
    assert len(combinations) == COMBINATIONS_MAX - 2
    assert 3 not in [selector.rule for selector in combinations.selectors(LASTING_FIRST)]
    places = [combinations.place(made[-1]), combinations.place(made[3]), combinations.place(made[200])]
    assert set(places) == {Place(LASTING_FIRST, 3), Place(LASTING_FIRST + 3, 8), None}
    # Numbers of selectors never come again, and one that is new is not idle.
    assert combinations.items()[-1][1].id == ids[-1] + 2
    assert combinations.make_room({number: count + 1 for number, count in counts.items()}) == set()
    # Not all at once, and where most are idle first.
    counts = {number: count + (number != ids[70] and number < ids[640]) + 1 for number, count in counts.items()}
    chosen = combinations.make_room(counts)
    assert len(chosen) == AT_ONCE
    assert min(chosen) == LASTING_FIRST + 10


def test_what_both_take_is_told():
    links = [Link(2, "eth0", physical=True), Link(3, "eth1", physical=True), Link(4, "vnet0")]
    selectors = [
        Selector(MAIN, None, "", "1/1", "ingress", (), 0, 0),
        Selector("collector-set-7", 0, "", "1/1", "both", ("vnet*",), 0, 0),
    ]
    both = {1: PsampleSource(1, MAIN), 2: PsampleSource(2, "collector-set-7")}
    seen = [(1, 2, 0), (1, 3, 1), (1, 4, 0), (2, 2, 0), (2, 4, 1), (9, 2, 0), (1, 77, 0)]
    first, second = twice(seen, both, links, selectors)
    assert first.startswith("eth0 (ingress) is sampled by psample group 1 and by xdpfix itself, both for main")
    assert second.startswith("vnet0 (egress) is sampled by psample group 2")
