"""`python -m services.simulator`."""

from __future__ import annotations

import sys

from services.gateway.flags import main
from services.simulator.settings import SimulatorSettings

ABOUT = """Serve a user simulator: a model that writes the next *user* message of a conversation.

Speaks OpenAI's API (/v1/models, /v1/chat/completions, /v1/completions) in front of a vLLM engine of its own, and the
original simulator's (/generate). The choice of a reply says in `platolm` whether the conversation is over.
Send no messages and it opens by itself; send a conversation that ends with the assistant and it replies as the user.
Every flag has an environment variable; flags win."""

EXAMPLES = """  python -m services.simulator                                   the demo model of a checkout
  python -m services.simulator --model runs/socratic-7b --port 9001
  python -m services.simulator --model microsoft/UserLM-8b       its profile is known by its name
  python -m services.simulator --model org/chat-model --profile roleplay
  PLATOLM_SIMULATOR_MODEL=org/model python -m services.simulator
  python -m services.simulator --model org/model --engine-url http://gpu-1:8011/v1

  curl localhost:8001/v1/chat/completions -H 'content-type: application/json' -d '{"messages": []}'"""

if __name__ == "__main__":
    sys.exit(main(SimulatorSettings, prog="services.simulator", about=ABOUT, examples=EXAMPLES))
