#include "comm/mpi_settings.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace moesaic::comm {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "not set";
}

/// Each test starts and ends without the variables that set_mpi_variables() reads or sets.
class MpiSettings : public testing::Test {
 protected:
  MpiSettings() { clear(); }
  ~MpiSettings() override { clear(); }

  static void clear() {
    for (const char* name : {"PMIX_NAMESPACE", "PMIX_MCA_gds", "OMPI_MCA_pml", "OMPI_MCA_opal_common_ucx_tls",
                             "OMPI_MCA_opal_common_ucx_devices"})
      ::unsetenv(name);
  }
};

TEST_F(MpiSettings, OnlyRanksOfSrunKeepPmixDataInTheProcess) {
  set_mpi_variables();
  EXPECT_EQ(variable("PMIX_MCA_gds"), "not set");
  ::setenv("PMIX_NAMESPACE", "2936537089", 1);  // mpirun's
  set_mpi_variables();
  EXPECT_EQ(variable("PMIX_MCA_gds"), "not set");
  ::setenv("PMIX_NAMESPACE", "slurm.pmix.7.0", 1);
  set_mpi_variables();
  EXPECT_EQ(variable("PMIX_MCA_gds"), "hash");
}

TEST_F(MpiSettings, AUsersOwnStays) {
  ::setenv("PMIX_NAMESPACE", "slurm.pmix.7.0", 1);
  ::setenv("PMIX_MCA_gds", "ds21", 1);
  ::setenv("OMPI_MCA_pml", "ucx", 1);
  ::setenv("OMPI_MCA_opal_common_ucx_tls", "rc", 1);
  set_mpi_variables();
  EXPECT_EQ(variable("PMIX_MCA_gds"), "ds21");
  EXPECT_EQ(variable("OMPI_MCA_opal_common_ucx_tls"), "rc");
}

TEST_F(MpiSettings, UcxWorksWithoutInfiniBandOnlyWhereItWasAskedFor) {
  for (const char* pml : {"ob1", "^ucx", "^ob1,ucx"}) {
    ::setenv("OMPI_MCA_pml", pml, 1);
    set_mpi_variables();
    EXPECT_EQ(variable("OMPI_MCA_opal_common_ucx_tls"), "not set") << pml;
  }
  ::setenv("OMPI_MCA_pml", "ucx", 1);
  set_mpi_variables();
  EXPECT_EQ(variable("OMPI_MCA_opal_common_ucx_tls"), "any");
  EXPECT_EQ(variable("OMPI_MCA_opal_common_ucx_devices"), "any");
}

}  // namespace
}  // namespace moesaic::comm
