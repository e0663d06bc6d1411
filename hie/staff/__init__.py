"""The staff API: what people who run the exchange see and decide, over HTTP."""
