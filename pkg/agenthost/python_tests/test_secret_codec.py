"""Secret values stay out of payloads and failures, and come back in."""

import asyncio
import json
import unittest

from agentcloud_host import contract, redact, secret_codec
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter

SECRETS = {"mcpac_sc_1": 'a "quoted" välue', "mcpac_sc_2": "sk-plain-key", "mcpac_sc_3": "tiny"}


class SecretCodec(unittest.TestCase):
    def setUp(self):
        self.converter = secret_codec.fit(pydantic_data_converter, SECRETS)

    def trip(self, value):
        payloads = asyncio.run(self.converter.encode([value]))
        return payloads[0].data.decode(), asyncio.run(self.converter.decode(payloads))[0]

    def test_values_travel_as_handles(self):
        for secret in list(SECRETS.values())[:2]:
            with self.subTest(secret):
                sent, got = self.trip({"config": {"api_key": secret, "text": f"see {secret}."}})
                self.assertNotIn(json.dumps(secret, ensure_ascii=False)[1:-1], sent)
                self.assertIn("mcpac_sc_", sent)
                self.assertEqual(got, {"config": {"api_key": secret, "text": f"see {secret}."}})

    def test_words_are_left_alone(self):
        sent, got = self.trip("a tiny thing")
        self.assertEqual((sent, got), ('"a tiny thing"', "a tiny thing"))

    def test_what_is_not_json_passes(self):
        sent = asyncio.run(self.converter.encode([b"sk-plain-key"]))
        self.assertEqual(sent[0].data, b"sk-plain-key")

    def test_a_rotated_value_is_read_as_the_new_one(self):
        sent = asyncio.run(self.converter.encode(["sk-plain-key"]))
        later = secret_codec.fit(pydantic_data_converter, {"mcpac_sc_2": "sk-rotated"})
        self.assertEqual(asyncio.run(later.decode(sent)), ["sk-rotated"])

    def test_failures_do_not_quote(self):
        redact.learn(contract.decode({"secrets": SECRETS}))
        failure = Failure()
        asyncio.run(self.converter.encode_failure(ValueError("bad key sk-plain-key"), failure))
        self.assertNotIn("sk-plain-key", failure.message)
        self.assertIn("bad key", failure.message)


if __name__ == "__main__":
    unittest.main()
