// A warp, as the instructions that it executes together see it.
#include "device.h"

// The operands of a lane that takes part.
Operands *operands(Warp *, int lane);
