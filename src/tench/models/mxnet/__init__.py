"""The networks of MXNet's example/image-classification, called `mxnet:NAME` here.

They follow that program rather than the papers: fixed scales in batch norms, biases before batch norms, and paddings
and a width of 129 that the papers do not have. The structure depends on the image size as in the program (small images,
the inputs of the last layer). Common rules:

- Modules are registered in the order in which MXNet lists a network's arguments, so that state dicts correspond one to
  one: weight, bias of a convolution or linear layer; gamma, beta, moving mean and variance of a batch norm.
- Batch norms use momentum 0.1, which MXNet writes as 0.9. MXNet's running variance uses the batch variance divided
  by N, torch's the one divided by N - 1, where N is the number of values in a channel.
- Weights are drawn by the default initialiser of MXNet's programs for the network.
"""
