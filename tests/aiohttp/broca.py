"""A plugin and a page in one program, as such programs use aiohttp: they speak by ?action= and poll."""

import asyncio
import json
import sys
from datetime import datetime

import aiohttp

SESSION = "session_mdwj6vj5_okiiczierw"


async def call(http, method, action, key=None, body=None, **params):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    url = f"{sys.argv[1]}/api/v1/"
    params = {"action": action, **params}
    sent = http.request(
        method, url, headers=headers, params=params, json=body, allow_redirects=False
    )
    async with sent as answer:
        assert answer.status == 200, await answer.text()
        told = await answer.json()
        assert told["success"]
        return told["data"]


async def main():
    key = sys.argv[2]
    async with aiohttp.ClientSession() as http:
        for text in ("one", "two", "three"):
            message = {"session_id": SESSION, "message": text}
            await call(http, "POST", "messages", body=message)

        await call(http, "GET", "inbox", key, limit=1, offset=0)
        inbox = await call(http, "GET", "inbox", key, limit=50, offset=0)
        shown, since = [], ""
        for row in inbox["messages"]:
            assert isinstance(row["id"], int) and isinstance(row["uid"], str)
            datetime.fromisoformat(row["timestamp"].replace("Z", "+00:00"))
            reply = {"session_id": row["session_id"], "response": f"re: {row['message']}"}
            await call(http, "POST", "outbox", key, body=reply)
            read = await call(http, "GET", "responses", session_id=SESSION, since=since)
            shown += [row["response"] for row in read["responses"]]
            since = read["responses"][-1]["timestamp"]

        left = await call(http, "GET", "inbox", key, limit=50, offset=0)
        fetched = [row["message"] for row in inbox["messages"]]
        print(json.dumps({"fetched": fetched, "shown": shown, "left": len(left["messages"])}))


asyncio.run(main())
