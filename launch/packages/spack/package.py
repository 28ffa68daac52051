# A Spack recipe. In a repository of your own: packages/moesaic/package.py (spack repo create, spack repo add), then
#   spack install moesaic ^openmpi
# There is no release to fetch yet, so it is built from a checkout: spack develop, or spack dev-build.

from spack.package import *


class Moesaic(CMakePackage):
    """Distributed expert-parallel inference for Grok-1: the same logits, bit for bit, in every layout."""

    license("Apache-2.0")

    version("main", branch="main")
    version("0.1.0")

    variant("tests", default=False, description="Build the tests")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("hdf5@1.10: +mpi")
    depends_on("hwloc@2:")
    depends_on("boost@1.74: +program_options")
    depends_on("fmt@9:")
    depends_on("spdlog@1.10: +fmt_external")
    depends_on("nlohmann-json@3.11:")
    depends_on("xxhash@0.8:")
    depends_on("sentencepiece@0.1.97:")
    depends_on("googletest@1.12: +gmock", when="+tests", type="build")

    generator("ninja")

    conflicts("%gcc@:10", msg="C++20 is needed")
    conflicts("target=aarch64:", msg="the kernels are for x86-64")

    def cmake_args(self):
        return [self.define("CMAKE_CXX_FLAGS_RELEASE", "-O3"), self.define_from_variant("MOESAIC_TESTS", "tests")]

    def setup_run_environment(self, env):
        env.set("MOESAIC_SLURM", join_path(self.prefix.share, "moesaic", "slurm"))

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def selftest(self):
        Executable(self.prefix.bin.moesaic)("selftest", "--threads", "1")
