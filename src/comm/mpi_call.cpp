#include "comm/mpi_call.hpp"

#include <fmt/format.h>

#include "comm/watch.hpp"

namespace moesaic::comm {

void mpi_failed(int code, const char* call, const char* file, int line) {
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(code, text, &length);
  diagnose(fmt::format("{}:{}: {} failed: {}", file, line, call, text));
}

}  // namespace moesaic::comm
