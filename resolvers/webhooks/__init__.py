"""Webhooks: who is told of what happens, in which words, and how every event gets there at least once and in order.

`managing` is what people do about them, `formats` and `mlflow` what is sent, `signing` and `sending` how, `turn` and
`delivering` when. What a webhook still has to deliver, and what became of the rest, is kept beside the graph
(graph.port.Kept), under the webhook's id: the secret at SECRET, the health at HEALTH, how far it came at 0, and each
delivery at the place of its event.
"""
