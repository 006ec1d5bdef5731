"""From a folder of recordings to numbers. Imports nothing from `vocalburst.gen` but `vocalburst.gen.data`."""
