"""AWS Lambda: `lambda_function.handler`, beside the directory `functions` in the zip file."""

from mangum import Mangum

from functions.asgi import app
from functions.buffering import Buffered

TEXT = ["application/json", "application/problem+json", "text/"]
"""What needs no base64, which a REST API would hand on as it is."""

handler = Mangum(Buffered(app), lifespan="off", text_mime_types=TEXT)
