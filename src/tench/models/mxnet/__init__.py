"""The networks of MXNet's example/image-classification, which are called `mxnet:NAME` here.

They are that program's, not the papers': fixed scales in batch norms, biases before them, paddings and a width of
129 that a paper does not have. Where the program lets the image size decide the structure (small images, the inputs of
the last layer), so do they. What the modules keep to:

- Modules are registered in the order in which MXNet lists a network's arguments, so that two state dicts agree one by
  one: weight, bias of a convolution or linear layer; gamma, beta, moving mean and variance of a batch norm.
- Batch norms average with momentum 0.1, which MXNet writes 0.9. Into the running variance MXNet takes the variance of
  the batch divided by N, torch the one divided by N - 1: that of torch is larger by a part in N, the number of values
  in a channel.
- Weights are drawn by the rule that MXNet's programs take for the network where they are told nothing.
"""
