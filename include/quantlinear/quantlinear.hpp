// QuantLinear: linear layers whose GGUF weights stay quantised in memory. Includes everything.
#pragma once

#include "quantlinear/any_backend.hpp"        // IWYU pragma: export
#include "quantlinear/backend.hpp"            // IWYU pragma: export
#include "quantlinear/cpu_backend.hpp"        // IWYU pragma: export
#include "quantlinear/error.hpp"              // IWYU pragma: export
#include "quantlinear/executor.hpp"           // IWYU pragma: export
#include "quantlinear/gguf.hpp"               // IWYU pragma: export
#include "quantlinear/gguf_writer.hpp"        // IWYU pragma: export
#include "quantlinear/linear.hpp"             // IWYU pragma: export
#include "quantlinear/reference_backend.hpp"  // IWYU pragma: export
