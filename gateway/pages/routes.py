"""The addresses of the pages, and of the files that they load."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway import problems
from gateway.api.parameters import user_of
from gateway.api.search import find
from gateway.context import Context, caller_of
from gateway.middleware.callers import is_at_home, is_of_api
from gateway.pages.assets import Assets
from gateway.pages.html import Markup, fill, tag
from gateway.pages.person import person
from gateway.problems import ProblemError
from schemas.users import is_user_id

_FOUND_MAX: Final = 12
_NOT_FOUND: Final = 404
_READING: Final = frozenset({"GET", "HEAD"})
_KEEP: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "private, no-cache"


def routes(context: Context, assets: Assets) -> list[Route]:
    """Return the routes."""

    def front(request: Request) -> Response:
        """Search works without a script: a whole id leads to its page, a beginning to those who have it."""
        user = request.query_params.get("user", "").strip()
        found, count = Markup(), ""
        if user and _may_read(context, request):
            if is_user_id(user) and _is_known(context, request, user):
                return RedirectResponse(f"/people/{quote(user, safe='')}", 303)
            found, count = _found(context, request, user)
        main = fill("front", live=fill("live"), user=user, found=found, found_count=count)
        return _page(assets, "front", "Clout", main)

    def of_person(request: Request) -> Response:
        try:
            user = user_of(request)
            answer = context.answer(context.newest(user, caller_of(request))) if _may_read(context, request) else None
        except ProblemError as problem:
            status, title = problems.TITLES[problem.name]
            main = fill("nobody", title=title, detail=f"{problem.detail}.", hint=problem.hint)
            return _page(assets, None, f"{title} · Clout", main, status)
        title = f"{user} · Clout" if answer is None else f"{answer.score:.1f} · {user} · Clout"
        return _page(assets, "person", title, person(user, answer))

    async def operate(_: Request) -> Response:
        return _page(assets, "operate", "Operate · Clout", fill("operate", live=fill("live")))

    async def static(request: Request) -> Response:
        asset = assets.files.get(request.path_params["name"])
        if asset is None:
            raise ProblemError(
                "not-found", "there is no such file", "load the page again: it names those that there are"
            )
        headers = {"Cache-Control": _KEEP, "Vary": "Accept-Encoding"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(asset.body, headers=headers, media_type=asset.media_type)
        return Response(asset.zipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=asset.media_type)

    return [
        Route("/", front),
        Route("/people/{user}", of_person),
        Route("/operate", operate),
        Route("/static/{name}", static),
    ]


def refuse(assets: Assets) -> Callable[[Request, Any], Response]:
    """Return what answers requests that no route takes: with a page where somebody looks for one."""

    def answer(request: Request, error: Any) -> Response:
        wants_page = request.method in _READING and "text/html" in request.headers.get("accept", "")
        if error.status_code != _NOT_FOUND or not wants_page or is_of_api(request.url.path) or not assets.complete:
            return problems.on_http(request, error)
        _, title = problems.TITLES["not-found"]
        main = fill("nobody", title=title, detail="", hint="Addresses of people are /people/ and their id.")
        return _page(assets, None, f"{title} · Clout", main, _NOT_FOUND)

    return answer


def _page(assets: Assets, script: str | None, title: str, main: Markup, status: int = 200) -> Response:
    if not assets.complete:
        raise ProblemError("no-pages", "the pages' scripts and styles were not bundled", "run `make setup`")
    here = Markup(' aria-current="page"')
    body = fill(
        "layout",
        title=title,
        style=assets.name("style.css"),
        icon=assets.name("icon.svg"),
        script=tag("script", type="module", src=f"/static/{assets.name(f'{script}.js')}") if script else Markup(),
        at_front=here if script == "front" else "",
        at_operate=here if script == "operate" else "",
        main=main,
    )
    return Response(body, status, headers={"Cache-Control": _ASK_AGAIN}, media_type="text/html")


def _may_read(context: Context, request: Request) -> bool:
    """Return whether whoever opens a page may be told scores; otherwise its script asks, with the key typed there.

    Nobody may before it is known who is private; a page that is opened from elsewhere has the rights of nobody.
    """
    at_home = is_at_home(request.scope["scheme"], request.headers)
    return "read" in caller_of(request).scopes and at_home and context.access.missing() is None


def _is_known(context: Context, request: Request, user: str) -> bool:
    try:
        context.newest(user, caller_of(request))
    except ProblemError:
        return False
    return True


def _found(context: Context, request: Request, prefix: str) -> tuple[Markup, str]:
    answer = find(context, caller_of(request), prefix, _FOUND_MAX)
    lines = [
        tag(
            "li",
            tag(
                "a",
                tag("span", of.user, class_="who"),
                tag("span", f"{of.score:.1f}", class_="number"),
                href=f"/people/{quote(of.user, safe='')}",
            ),
        )
        for of in answer.users
    ]
    if not lines:
        return Markup(), f"Nobody's id begins with “{prefix}”."
    return Markup("".join(lines)), f"{len(lines)} found{', and more: type on' if answer.more else ''}"
