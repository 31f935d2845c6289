"""`python -m services.respondent`."""

from __future__ import annotations

import sys

from services.gateway.flags import main
from services.respondent.settings import RespondentSettings

ABOUT = """Serve a respondent: a model that answers a conversation as the assistant.

Speaks OpenAI's API (/v1/models, /v1/chat/completions, /v1/completions) in front of a vLLM engine of its own.
Send a conversation that ends with a user message.
Every flag has an environment variable; flags win."""

EXAMPLES = """  python -m services.respondent                                  the demo model of a checkout
  python -m services.respondent --model runs/platolm-7b --port 9002
  PLATOLM_RESPONDENT_MODEL=org/model python -m services.respondent
  python -m services.respondent --model org/model --engine-url http://gpu-2:8012/v1

  curl localhost:8002/v1/chat/completions -H 'content-type: application/json' \\
       -d '{"messages": [{"role": "user", "content": "Hello"}]}'"""

if __name__ == "__main__":
    sys.exit(main(RespondentSettings, prog="services.respondent", about=ABOUT, examples=EXAMPLES))
