"""The partitions of the users: whether each runs, and how far its worker is behind."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.scores import respond
from gateway.context import Context
from gateway.operations import Operation
from schemas.gateway import PartitionsAnswer

PARTITIONS: Final = Operation(
    path="/v1/partitions",
    name="getPartitions",
    summary="The partitions of the users: whether each runs, and how many records its worker has not taken in",
    answer=PartitionsAnswer,
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    def partitions(request: Request, _: object) -> Response:
        return respond(request, context.backlog.answer())

    return [PARTITIONS.route(partitions)]
