"""A small Hugging Face hub on 127.0.0.1."""

import hashlib
import http.server
import json
import threading
from contextlib import contextmanager

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(models):
    """Yield (address, requests). `models`: name -> path in the repository -> bytes."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, body=True):
            path = self.path.split("?")[0]
            requests.append(path)
            name = next((name for name in models if path.startswith((f"/{name}/", f"/api/models/{name}/"))), None)
            files, resolved = models.get(name, {}), path.removeprefix(f"/{name}/resolve/{COMMIT}/")
            if resolved in files:
                self.answer(files[resolved], body)
            elif path == f"/api/models/{name}/tree/{COMMIT}":
                self.answer(json.dumps([{"type": "file", "path": path, "size": len(data), "oid": digest(data)}
                                        for path, data in files.items()]).encode())  # fmt: skip
            elif files:
                self.answer(json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode())
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def answer(self, data, body=True):
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{digest(data)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()


def digest(data):
    return hashlib.sha1(data).hexdigest()
