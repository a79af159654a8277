// Products of bfloat16 by oneDNN, if the program was built with it. Private to ops/kernels.
#pragma once

#include "ops/kernels/gemm/gemm_product.h"

namespace trib::ops {

/// "oneDNN 2.6.3", or null if the program was built without it.
const char* onednn_description();

/// Whether oneDNN has instructions here that our own kernels lack: those of AMX.
bool is_onednn_faster();

/// On the calling thread. False, and nothing done, if oneDNN has no such product: one with a bias
/// and an alpha other than 1, or what it refuses. Primitives are made once a thread and shape, up
/// to a bound; oneDNN itself allocates some bytes a call.
bool gemm_bf16_onednn(const GemmProduct& p);

}  // namespace trib::ops
