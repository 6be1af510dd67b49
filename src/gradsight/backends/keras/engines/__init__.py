"""The engines that Keras runs on, one file each, imported only where that engine runs; see `protocol.Engine`."""
