"""Runs a user's agent, unmodified, as a server or as a worker.

What it is told and what it tells is the contract of the Go package agentenv.
It does not install anything, supervise anything or keep anything on disk.
"""
