"""A source that cuts, lies, stalls or floods: the file arrives whole and right, or not at all."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecotone.assets.errors import FetchError
from ecotone.assets.fetch import fetched
from ecotone.assets.resume import Wanted
from ecotone.assets.web import Link, Web
from ecotone.values import ConfigError, TrustError

BODY = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)


@pytest.fixture
def fetch(origin, made, steps, tmp_path):
    """Fetches `/file` into a partial file and returns its bytes."""
    origin.files["/file"] = BODY

    def run(patience=None, part=None, timeout_s=5.0, **wanted):
        part = part or tmp_path / "a.part"
        wanted = Wanted(**{"url": f"{origin.url}/file", "what": "a", **wanted})
        found = fetched(Web(Link(timeout_s=timeout_s)), wanted, part, patience or made.impatient(), steps)
        assert found == made.sha256(part.read_bytes())
        assert not part.with_name(part.name + ".json").exists()
        return part.read_bytes()

    return run


def test_a_whole_file_arrives_and_progress_adds_up(fetch, steps):
    assert fetch() == BODY
    assert (steps.total, steps.count, steps.ends) == (len(BODY), len(BODY), 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 80_000), max_size=4), is_known=st.booleans(), has_etag=st.booleans())
def test_a_download_cut_anywhere_any_number_of_times_ends_whole(origin, made, fetch, cuts, is_known, has_etag):
    origin.has_etag = has_etag
    origin.acts.clear()
    origin.log.clear()
    origin.acts.extend(made.cut(n) for n in cuts)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "a.part"
        assert fetch(part=part, sha256=made.sha256(BODY) if is_known else None) == BODY
    if (is_known or has_etag) and cuts:
        at = sum(cuts)
        assert origin.asked()[-1] == (f"bytes={at}-" if at else None), "what had arrived was fetched again"
    else:
        assert set(origin.asked()) == {None}, "parts were joined that nothing would have checked"


def test_a_later_run_goes_on_where_the_first_stopped(origin, made, fetch):
    origin.acts.extend([made.cut(100_000), *[made.reset] * 3])
    with pytest.raises(FetchError, match="given up after 3 tries"):
        fetch(made.impatient(tries_max=3), sha256=made.sha256(BODY))
    origin.acts.clear()
    assert fetch(sha256=made.sha256(BODY)) == BODY
    assert origin.asked()[-1] == "bytes=100000-"


def test_a_later_run_joins_nothing_unsynced_where_no_digest_would_tell(origin, made, fetch):
    origin.acts.extend([made.cut(100_000), made.reset])
    with pytest.raises(FetchError):
        fetch(made.impatient(tries_max=2, worth_bytes=1 << 20))
    origin.acts.clear()
    assert fetch() == BODY
    assert origin.asked()[-1] is None


def test_a_later_run_joins_what_was_synced(origin, made, fetch, monkeypatch):
    monkeypatch.setattr("ecotone.assets.fetch.SYNC_BYTES", 1)
    monkeypatch.setattr("ecotone.assets.fetch.CHUNK_BYTES", 10_000)
    origin.acts.extend([made.cut(100_000), made.reset])
    with pytest.raises(FetchError):
        fetch(made.impatient(tries_max=2, worth_bytes=1 << 20))
    origin.acts.clear()
    assert fetch() == BODY
    assert origin.asked()[-1] == "bytes=100000-"


def test_a_file_that_changed_between_the_parts_is_fetched_anew(origin, made, fetch):
    origin.acts.append(made.cut(50_000))

    def changed(handler, body):
        origin.files["/file"] = OTHER
        made.honest(handler, OTHER)

    origin.acts.append(changed)
    assert fetch() == OTHER


def test_a_server_that_ignores_if_range_is_found_out(origin, made, fetch):
    def joins_anyway(handler, body):
        del handler.headers["If-Range"]
        made.honest(handler, OTHER)

    origin.acts.extend([made.cut(50_000), joins_anyway])
    assert fetch() == BODY
    assert origin.asked() == [None, "bytes=50000-", None]


def test_parts_of_two_files_under_one_tag_are_found_out_by_the_digest(origin, made, fetch, steps):
    origin.has_etag = False
    origin.acts.extend([made.cut(50_000), lambda handler, body: made.honest(handler, OTHER)])
    assert fetch(sha256=made.sha256(BODY)) == BODY
    assert origin.asked() == [None, "bytes=50000-", None]
    assert any("not of one file" in line for line in steps.lines)


def test_a_wrong_file_in_one_piece_is_an_alarm_and_leaves_nothing(origin, made, fetch, tmp_path):
    origin.files["/file"] = OTHER
    with pytest.raises(TrustError) as caught:
        fetch(sha256=made.sha256(BODY))
    assert caught.value.code == "asset.digest"
    assert list(tmp_path.iterdir()) == []
    assert len(origin.log) == 1


@pytest.mark.parametrize(
    "content_range", ["bytes 0-9/300000", "bytes 50001-299999/300000", "bytes 50000-99999/300000", "lies", ""]
)
def test_a_partial_answer_to_another_question_is_dropped(origin, made, fetch, content_range):
    origin.acts.extend(
        [made.cut(50_000), made.says(206, {"Content-Range": content_range, "ETag": made.etag_of(BODY)}, OTHER[50_000:])]
    )
    assert fetch(sha256=made.sha256(BODY)) == BODY


def test_a_shorter_file_than_the_part_is_fetched_anew(origin, made, fetch, tmp_path):
    (tmp_path / "a.part").write_bytes(BODY + b"more")
    assert fetch(sha256=made.sha256(BODY)) == BODY
    assert origin.asked() == ["bytes=300004-", None]


def test_a_complete_part_needs_no_request(origin, made, fetch, tmp_path):
    (tmp_path / "a.part").write_bytes(BODY)
    assert fetch(sha256=made.sha256(BODY), bytes=len(BODY)) == BODY
    assert origin.log == []


def test_a_rotten_part_is_found_out_and_fetched_anew(origin, made, fetch, tmp_path):
    (tmp_path / "a.part").write_bytes(bytes(len(BODY)))
    assert fetch(sha256=made.sha256(BODY), bytes=len(BODY)) == BODY


def test_a_damaged_mark_is_no_mark(made, fetch, tmp_path):
    (tmp_path / "a.part").write_bytes(OTHER[:1000])
    (tmp_path / "a.part.json").write_bytes(b'{"etag":')
    assert fetch() == BODY


def test_an_endless_body_is_stopped_at_the_limit(origin, made, fetch, tmp_path):
    origin.acts.append(made.endless)
    with pytest.raises(FetchError, match="more than 1000000 bytes") as caught:
        fetch(bytes_max=1_000_000)
    assert caught.value.code == "asset.too_large"
    assert (tmp_path / "a.part").stat().st_size <= 1_000_000


def test_a_file_that_says_it_is_too_large_is_refused_before_its_first_byte(fetch, tmp_path):
    with pytest.raises(FetchError) as caught:
        fetch(bytes_max=299_999)
    assert caught.value.code == "asset.too_large"
    assert not (tmp_path / "a.part").exists()


def test_a_captive_portals_page_is_not_taken_for_the_file(origin, made, fetch):
    origin.acts.append(made.says(200, {"Content-Type": "text/html"}, b"<h1>Log in</h1>"))
    assert fetch(bytes=len(BODY)) == BODY


def test_a_body_without_length_or_digest_is_refused_and_with_a_digest_taken(origin, made, fetch):
    def unsaid(handler, body):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True

    origin.acts.extend([unsaid, unsaid])
    with pytest.raises(FetchError, match="does not say how long"):
        fetch()
    assert fetch(sha256=made.sha256(BODY)) == BODY


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_state_is_waited_out_and_retry_after_heeded_within_the_limit(origin, made, fetch, status):
    slept = []
    origin.acts.extend(
        [made.says(status, {"Retry-After": "7"}), made.says(status, {"Retry-After": "86400"}), made.reset]
    )
    assert fetch(made.impatient(sleep=slept.append)) == BODY
    assert slept[0] == 7.0
    assert slept[1] == 30.0
    assert 0 < slept[2] <= 2.0


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "asset.not_found", ConfigError),
        (410, "asset.not_found", ConfigError),
        (401, "asset.refused", FetchError),
        (403, "asset.refused", FetchError),
        (418, "asset.refused", FetchError),
    ],
)
def test_a_final_answer_is_not_asked_twice(origin, made, fetch, status, code, kind):
    origin.acts.append(made.says(status))
    with pytest.raises(kind) as caught:
        fetch()
    assert caught.value.code == code
    assert len(origin.log) == 1


def test_silence_is_a_cut_and_the_rest_is_fetched(origin, made, fetch):
    origin.acts.append(made.silent)
    assert fetch(timeout_s=0.2) == BODY
    assert origin.asked() == [None, "bytes=150000-"]


def test_a_trickle_is_a_cut(origin, made, fetch, monkeypatch):
    monkeypatch.setattr("ecotone.assets.fetch.CHUNK_BYTES", 100)
    now_s = iter(range(0, 1_000_000, 20))
    patience = made.impatient(now_s=lambda: float(next(now_s)), slow_bytes=16_384, tries_max=3)
    with pytest.raises(FetchError, match="bytes came in"):
        fetch(patience, sha256=made.sha256(BODY))


def test_a_source_that_gives_a_byte_at_a_time_is_given_up(origin, made, fetch):
    origin.acts.extend([made.cut(1)] * 50)
    with pytest.raises(FetchError) as caught:
        fetch(sha256=made.sha256(BODY))
    assert caught.value.code == "asset.unreachable"
    assert len(origin.log) == 6


def test_a_bad_link_that_makes_progress_is_not_given_up(origin, made, fetch):
    origin.acts.extend([made.cut(10_000)] * 20)
    assert fetch(sha256=made.sha256(BODY)) == BODY
    assert len(origin.log) == 21


def test_the_count_of_a_mark_is_readable_by_a_person(origin, made, fetch, tmp_path):
    origin.acts.extend([made.cut(100_000), *[made.reset] * 3])
    with pytest.raises(FetchError):
        fetch(made.impatient(tries_max=3))
    mark = msgspec.json.decode((tmp_path / "a.part.json").read_bytes())
    assert mark == {"url": f"{origin.url}/file", "etag": made.etag_of(BODY), "total": 300_000, "synced": 0}
