"""What TensorFlow Serving says over gRPC: its messages and methods, from the descriptors of its own `.proto` files.

They are in `serving.binpb`, a FileDescriptorSet of what the management of models needs. They are read when they are
needed, into a pool of their own: so they go with any version of protobuf, and beside TensorFlow in one process.
"""
