#include "comm/session.hpp"

#include <unistd.h>

#include <array>

#include "comm/mpi_settings.hpp"
#include "comm/single_copy.hpp"
#include "comm/wait.hpp"

namespace moesaic::comm {
namespace {

/// A communicator for the reports of the watch alone.
MPI_Comm duplicate_world() {
  MPI_Comm comm = MPI_COMM_NULL;
  {
    const BlockingCall call("MPI_Comm_dup");
    MOESAIC_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
  }
  MOESAIC_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  return comm;
}

/// Collective: the names of the nodes, indexed by world rank.
std::vector<std::string> gather_hosts(const Communicator& world) {
  using Name = std::array<char, 64>;
  Name own{};
  gethostname(own.data(), own.size() - 1);
  std::vector<Name> all(static_cast<std::size_t>(world.size()));
  MPI_Request request = MPI_REQUEST_NULL;
  MOESAIC_MPI(
      MPI_Iallgather(own.data(), sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, world.handle(), &request));
  wait_for(request, {"names of hosts", nullptr, world.world_ranks()});
  std::vector<std::string> hosts;
  for (const Name& name : all) hosts.emplace_back(name.data());
  return hosts;
}

}  // namespace

Session::Session(int& argc, char**& argv, LastResorts last_resorts) {
  int provided = 0;
  set_mpi_variables();
  start_watch(last_resorts);
  avoid_forbidden_reads();
  {
    const BlockingCall call("MPI_Init");
    MOESAIC_MPI(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided));
  }
  for (const MPI_Comm comm : {MPI_COMM_WORLD, MPI_COMM_SELF})
    MOESAIC_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  if (provided < MPI_THREAD_FUNNELED) fail("this MPI offers thread level {}, FUNNELED is needed", provided);
  join_watch(duplicate_world());
  name_hosts(gather_hosts(Communicator::world()));
}

/// The ranks meet first: a wait for a rank that does not come can be told, MPI_Finalize cannot.
Session::~Session() {
  Communicator::world().barrier();
  const BlockingCall call("MPI_Finalize");
  leave_watch();
  MPI_Finalize();
}

}  // namespace moesaic::comm
