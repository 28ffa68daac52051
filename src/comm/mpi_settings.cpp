#include "comm/mpi_settings.hpp"

#include <cstdlib>
#include <string_view>

namespace moesaic::comm {
namespace {

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void set_default(const char* name, const char* value) {
  constexpr int kKeep = 0;
  ::setenv(name, value, kKeep);
}

}  // namespace

void set_mpi_variables() {
  // Under srun, PMIx's store in shared memory crashed in 13 of 910 launches, the one in the process in none of 960.
  // With mpirun this is not for us to set: where mpirun has it and its helpers on other nodes do not, MPI takes ranks
  // of several nodes for neighbours, and hangs.
  if (variable("PMIX_NAMESPACE").starts_with("slurm.pmix.")) set_default("PMIX_MCA_gds", "hash");
  // Open MPI refuses UCX without InfiniBand unless told so; told so where UCX was not asked for, it may put UCX before
  // the transports that are meant.
  if (const std::string_view pml = variable("OMPI_MCA_pml"); pml.find("ucx") != pml.npos && !pml.starts_with('^')) {
    set_default("OMPI_MCA_opal_common_ucx_tls", "any");
    set_default("OMPI_MCA_opal_common_ucx_devices", "any");
  }
}

}  // namespace moesaic::comm
