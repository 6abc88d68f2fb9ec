"""What is measured of one running contender: a flat table of figures, and notes on what could not be."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import contenders
from contenders import Contender, SetupError
from processes import (
    GATEWAY_CORE,
    INSTRUMENT_CORE,
    Processes,
    core_busy_s,
    spent_ns,
    tree_cpu_ns,
    tree_memory,
)
from starting import Running, running, start_offline_s

SECTIONS = ("json", "rate", "streams", "memory", "start")
RATES_RPS = (50, 200)
STREAMS = (100, 500, 1000)
CHUNK_AGE_MAX_S = 0.1
GOOD_SHARE_MIN = 0.99  # below it a figure would reward quick refusals, and is dropped


@dataclass(frozen=True)
class Plan:
    """How long each measurement takes, seconds."""

    warm_s: float = 0.8
    one_connection_s: float = 2.0
    saturated_s: float = 4.0
    rate_s: float = 5.0
    ramp_s: float = 1.0
    settle_s: float = 1.0
    chunks: int = 64


QUICK = Plan(warm_s=0.5, one_connection_s=1.0, saturated_s=1.5, rate_s=2.0, settle_s=0.5)


@dataclass
class Block:
    """The figures of one contender in one round."""

    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class LoadError(Exception):
    """The load generator gave no result."""


def measure(processes: Processes, contender: Contender, upstream_port: int, plan: Plan, only: Sequence[str]) -> Block:
    """Starts the contender, takes it through the sections, stops it. Never raises for what a contender does."""
    block = Block()
    try:
        with running(processes, contender, upstream_port) as gateway:
            if "start" in only and gateway.pid:
                block.figures["start_online_s"] = gateway.start_s
            _Course(block, gateway, plan).run(only)
            if gateway.death():
                block.figures.clear()
                block.note(f"FAILED: under load it {gateway.death()}; its figures of this round are dropped")
                return block
    except (SetupError, LoadError) as error:
        block.note(f"FAILED: {error}")
        return block
    if "start" in only and contender.launch:
        try:
            block.figures["start_offline_s"] = start_offline_s(contender)
        except SetupError as error:
            block.note(f"start with no network FAILED: {error}")
    return block


@dataclass
class _Course:
    block: Block
    gateway: Running
    plan: Plan

    def run(self, only: Sequence[str]) -> None:
        if "memory" in only:
            self.idle_memory()
        if set(only) - {"start"}:
            self.load("warm", "closed", "-c", "64", "-t", str(self.plan.warm_s))
        if "json" in only:
            self.one_connection()
        if {"json", "rate", "memory"} & set(only):
            self.saturated()
        if "rate" in only:
            self.fixed_rates()
        if {"streams", "memory"} & set(only):
            self.all_streams(STREAMS if "streams" in only else STREAMS[:1])
        if "memory" in only:
            self.loaded_memory()

    def load(self, name: str, mode: str, *options: str, limit_s: float = 30) -> dict[str, Any]:
        """One run of the load generator, with the CPU time of the contender's tree over it.

        Raises:
            LoadError: it does not end within its limit.
        """
        pinned = ["taskset", "-c", str(INSTRUMENT_CORE), str(contenders.WORK / "load"), mode]
        argv = [*pinned, "-p", str(self.gateway.port), "-k", contenders.KEY, "-l", str(limit_s), *options]
        cpu_before, busy_before, began_s = self._cpu(), core_busy_s(GATEWAY_CORE), time.monotonic()
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s + 10, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            raise LoadError(f"load generator, {name}: {error}") from error
        took_s = time.monotonic() - began_s
        result: dict[str, Any] = json.loads(done.stdout)
        result["cpu_us"] = spent_ns(cpu_before, self._cpu()) / 1000
        busy_s = core_busy_s(GATEWAY_CORE) - busy_before
        result["foreign_core_share"] = round(max(0.0, busy_s - result["cpu_us"] / 1e6) / took_s, 3)
        self.block.raw[name] = result
        self._note_failures(name, result)
        return result

    def _cpu(self) -> dict[int, int]:
        return tree_cpu_ns(self.gateway.pid) if self.gateway.pid else {}

    def _is_sound(self, name: str, result: dict[str, Any]) -> bool:
        """Whether enough requests were answered well for latency and CPU to mean anything."""
        good = result.get("streams_done", result["completed"])
        asked = result.get("streams", result["completed"] + result["errors"] + result["unfinished"])
        is_sound = bool(asked > 0 and good / asked >= GOOD_SHARE_MIN)
        if not is_sound:
            self.block.note(f"{name}: figures dropped, only {good} of {asked} ended well")
        return is_sound

    def _note_failures(self, name: str, result: dict[str, Any]) -> None:
        bad = {status: n for status, n in result["statuses"].items() if status != "200"}
        if result["errors"] or result["unfinished"]:
            what = f"{result['errors']} errors, {result['unfinished']} unfinished of {result['completed']} done"
            self.block.note(f"{name}: {what}" + (f" (statuses {bad})" if bad else ""))

    def _keep(self, **figures: float | None) -> None:
        self.block.figures.update({name: value for name, value in figures.items() if value is not None})

    def _cpu_per(self, result: dict[str, Any], count: float) -> float | None:
        return result["cpu_us"] / count if self.gateway.pid and count else None

    def one_connection(self) -> None:
        result = self.load("c1", "closed", "-c", "1", "-t", str(self.plan.one_connection_s))
        if self._is_sound("c1", result):
            self._keep(c1_p50_us=result["latency_us"]["p50"])

    def saturated(self) -> None:
        result = self.load("saturated", "closed", "-c", "64", "-t", str(self.plan.saturated_s))
        if self._is_sound("saturated", result):
            self._keep(saturated_rps=result["rps"], saturated_cpu_us=self._cpu_per(result, result["completed"]))
            self._keep(saturated_p99_us=result["latency_us"]["p99"])
            if self.gateway.pid:
                self._keep(saturated_core_share=result["cpu_us"] / 1e6 / result["seconds"])

    def fixed_rates(self) -> None:
        for rate in RATES_RPS:
            if self.block.figures.get("saturated_rps", 0) < rate:
                self.block.note(f"{rate} rps skipped: it carries {self.block.figures.get('saturated_rps', 0):.0f} rps")
                continue
            options = ("-r", str(rate), "-t", str(self.plan.rate_s), "-c", "512")
            result = self.load(f"rate{rate}", "open", *options, limit_s=self.plan.rate_s + 10)
            if self._is_sound(f"rate{rate}", result):
                self._keep(**{f"rate{rate}_{q}_us": result["latency_us"][q] for q in ("p50", "p99")})
                self._keep(**{f"rate{rate}_cpu_us": self._cpu_per(result, result["completed"])})

    def all_streams(self, levels: Sequence[int]) -> None:
        for streams in levels:
            if not self.streams(streams):
                rest = ", ".join(str(level) for level in levels if level > streams)
                why = f"{streams} streams not carried (some incomplete, or chunk age p99 over {CHUNK_AGE_MAX_S} s)"
                self.block.note(why + (f": {rest} skipped" if rest else ""))
                self._keep(**{f"streams{level}_carried": 0.0 for level in levels if level >= streams})
                return

    def streams(self, streams: int) -> bool:
        """One wave of streams; returns whether it was carried."""
        name = f"streams{streams}"
        result = self.load(name, "streams", "-s", str(streams), "-w", str(self.plan.ramp_s), limit_s=40)
        self._keep(**{f"{name}_done_share": result["streams_done"] / streams})
        if not self._is_sound(name, result):
            return False
        self._keep(**{f"{name}_chunk_cpu_us": self._cpu_per(result, result["chunks"])})
        self._keep(**{f"{name}_ttft_p50_us": result["ttft_us"]["p50"], f"{name}_ttft_p99_us": result["ttft_us"]["p99"]})
        self._keep(**{f"{name}_age_p50_us": result["age_us"]["p50"], f"{name}_age_p99_us": result["age_us"]["p99"]})
        is_carried = bool(result["streams_done"] == streams and result["age_us"]["p99"] <= CHUNK_AGE_MAX_S * 1e6)
        self._keep(**{f"{name}_carried": float(is_carried)})
        return is_carried

    def idle_memory(self) -> None:
        if self.gateway.pid:
            time.sleep(self.plan.settle_s)
            memory = tree_memory(self.gateway.pid)
            self._keep(idle_rss_mb=memory.rss_mb, idle_pss_mb=memory.pss_mb)

    def loaded_memory(self) -> None:
        if self.gateway.pid:
            memory = tree_memory(self.gateway.pid)
            self._keep(loaded_peak_rss_mb=memory.peak_rss_mb, loaded_pss_mb=memory.pss_mb)
