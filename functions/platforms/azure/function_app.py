"""Azure Functions: `app`, beside the directory `functions` in the root of what is published."""

import azure.functions as azure

from functions.asgi import app as functions
from functions.buffering import Buffered
from functions.settings import settings

# With AUTH=none the platform has to authenticate: here it asks for one of its function keys.
LEVEL = azure.AuthLevel.FUNCTION if settings().auth == "none" else azure.AuthLevel.ANONYMOUS

app = azure.AsgiFunctionApp(Buffered(functions), LEVEL, function_name="functions")
