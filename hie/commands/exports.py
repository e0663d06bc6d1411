"""The command about bulk exports: what there is, and take one away."""

import argparse
import asyncio

from hie.audit.event import AuditRecord
from hie.commands.parser import Group, command, positive, settings_of
from hie.exports.repository import ExportBook
from hie.kernel.clock import instant
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the command."""
    arguments = command(
        group,
        "export",
        "List bulk exports, newest first; take one away, finished or not.",
        lambda a: asyncio.run(exports(settings_of(), a)),
    )
    actions = arguments.add_subparsers(required=True, dest="action", metavar="ACTION")
    listed = actions.add_parser("list", help="what there is, newest first")
    listed.add_argument("--limit", type=positive, default=100)
    cancelled = actions.add_parser("cancel", help="end one and take its files away; audited")
    cancelled.add_argument("job", help="as `list` names it")


async def exports(settings: Settings, arguments: argparse.Namespace) -> int:
    """Do what the action says; 1 where there is no such job."""
    async with Services(settings) as services:
        book = ExportBook(services.db, services.keys)
        if arguments.action == "cancel":
            return await _cancel(services, book, arguments.job)
        for job in await book.listed(arguments.limit):
            print(
                f"{job.job_id}  {instant(job.created_us)}  {job.organization or '-'}  "
                f"{job.asked.level.value}  {job.state.value}  listed {job.listed}"
            )
    return 0


async def _cancel(services: Services, book: ExportBook, job_id: str) -> int:
    now_us = services.clock.now_us()
    record = AuditRecord(
        recorded_us=now_us,
        action="E",
        subtype="disclose",
        detail={"query": f"$export {job_id}", "reason": "cancelled by the operator"},
    )
    async with services.db.transaction() as conn:
        is_gone = await book.cancel(conn, job_id, now_us)
        if is_gone:
            await services.audit.append(conn, [record])
    print("taken away" if is_gone else "there is no such export")
    return 0 if is_gone else 1
