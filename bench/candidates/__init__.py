"""The candidates, in the order of the table."""

from bench.candidates.base import Candidate, Site, TakesOurTokens
from bench.candidates.kinto import Kinto
from bench.candidates.pocketbase import PocketBase
from bench.candidates.web import FastAPI, Fastify, Ours, OursWithManyRows, PlainDjango

CANDIDATES: tuple[type[Candidate], ...] = (Ours, Fastify, FastAPI, PlainDjango, Kinto, PocketBase)

__all__ = ["CANDIDATES", "Candidate", "Ours", "OursWithManyRows", "Site", "TakesOurTokens"]
