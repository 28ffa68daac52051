#include <gmock/gmock.h>

#include "apps/doctor/judge.hpp"
#include "apps/doctor/settings.hpp"

namespace moesaic::apps::doctor {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

/// 2 nodes with 2 ranks each, 4 processors a rank, nothing wrong.
std::vector<RankFacts> healthy_site() {
  std::vector<RankFacts> facts(4);
  for (int rank = 0; rank < 4; ++rank) {
    RankFacts& f = facts[static_cast<std::size_t>(rank)];
    f.host = rank < 2 ? "n0" : "n1";
    f.node = rank < 2 ? 0 : 2;
    for (int i = 0; i < 4; ++i) f.processors.push_back(4 * (rank % 2) + i);
    f.num_node_processors = 8;
    f.num_threads = 4;
    f.placement = "4 threads a rank bound";
    f.cpu = "a processor", f.isa = "avx2", f.build = "moesaic 1, build 2";
    f.mpi_library = "Open MPI v4.1.4", f.transport = "ucx (UCX_TLS not set: its own choice)", f.transport_layer = "ucx";
    f.has_rdma_adapter = true;
    f.launcher = "srun", f.slurm_tasks = 4, f.slurm_nodes = 2;
    f.memory_bytes = 200 * kGiB, f.total_memory_bytes = 256 * kGiB, f.shared_memory_bytes = 100 * kGiB;
    f.huge_pages = "always";
  }
  return facts;
}

Status worst(const Findings& findings) {
  Status worst = Status::kOk;
  for (const Finding& finding : findings) worst = std::max(worst, finding.status);
  return worst;
}

/// The one subject that is not ok, as text; "" when none is, and all of them when several are.
std::string complaint(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings)
    if (finding.status != Status::kOk) text += text_of(finding) + "\n";
  return text;
}

TEST(Doctor, FindsNothingWrongWithAHealthySite) {
  const Findings findings = judge(healthy_site());
  EXPECT_EQ(complaint(findings), "");
  for (const Finding& finding : findings) EXPECT_THAT(finding.remedy, IsEmpty()) << finding.what;
}

TEST(Doctor, ComparesTheScriptsSettingsWithTheRanks) {
  const std::vector<std::string> hosts = {"n0", "n0", "n1", "n1"};
  const std::vector<Setting> settings = settings_from({"UCX_TLS=tcp,sm", "OPTIONS=a=b", "EMPTY="});
  const std::vector<std::optional<std::string>> same = {"tcp,sm", "a=b", ""};
  EXPECT_EQ(complaint(judge_settings(settings, {same, same, same, same}, hosts)), "");
  EXPECT_THAT(judge_settings({}, {{}, {}}, {"n0", "n1"}), IsEmpty());

  const Findings lost =
      judge_settings(settings, {same, same, {std::nullopt, "a=b", ""}, {std::nullopt, "", ""}}, hosts);
  ASSERT_EQ(lost.size(), 2U);
  EXPECT_EQ(lost[0].status, Status::kFailed);
  EXPECT_EQ(lost[0].text, "UCX_TLS is 'tcp,sm' in the job's script, but not set on ranks 2-3 (n1)");
  EXPECT_EQ(lost[1].status, Status::kWarning);
  EXPECT_EQ(lost[1].text, "OPTIONS is 'a=b' in the job's script, but '' on rank 3 (n1)");
  for (const Finding& finding : lost) EXPECT_THAT(finding.remedy, Not(IsEmpty()));

  for (const char* text : {"UCX_TLS", "=tcp", ""}) EXPECT_THROW(settings_from({text}), Error);
}

TEST(Doctor, EveryComplaintHasARemedy) {
  auto facts = healthy_site();
  facts[3].shared_memory_bytes = facts[1].memory_bytes = 1 << 20;
  facts[2].isa = facts[2].mpi_library = "another";
  for (const Finding& finding : judge(facts)) EXPECT_EQ(finding.remedy.empty(), finding.status == Status::kOk);
}

/// Three ranks, the last alone on its node: it needs no shared memory. Texts, and the order in UCX_TLS, do not matter.
TEST(Doctor, ARankAloneOnItsNodeHearsTheOthers) {
  auto facts = healthy_site();
  facts.pop_back();
  for (RankFacts& f : facts) {
    f.slurm_tasks = 3, f.has_rdma_adapter = false;
    f.transport = "ob1 (tcp, vader)", f.transport_layer = "ob1", f.networks = {"tcp"}, f.memory_transports = {"vader"};
  }
  facts[2].transport = "ob1 (tcp); UCX_TLS=rc has no effect", facts[2].memory_transports = {};
  facts[2].processors = {0, 1, 2, 3, 4, 5, 6, 7};
  for (const Finding& finding : judge(facts))
    EXPECT_TRUE(finding.status == Status::kOk || finding.what == "ranks") << text_of(finding);
}

/// One thing is changed; the complaint names it and has this status.
struct Sick {
  const char* name;
  void (*change)(std::vector<RankFacts>&);
  Status status;
  std::vector<const char*> texts;
};
class DoctorFinds : public testing::TestWithParam<Sick> {};
TEST_P(DoctorFinds, WhatIsWrong) {
  auto facts = healthy_site();
  GetParam().change(facts);
  const Findings findings = judge(facts);
  EXPECT_EQ(worst(findings), GetParam().status);
  for (const char* text : GetParam().texts) EXPECT_THAT(complaint(findings), HasSubstr(text));
}

using Site = std::vector<RankFacts>&;
void all(Site site, void (*change)(RankFacts&)) {
  for (RankFacts& facts : site) change(facts);
}
INSTANTIATE_TEST_SUITE_P(
    Sites, DoctorFinds,
    testing::Values(
        Sick{"wrong_pmi",
             [](Site s) { all(s, [](RankFacts& f) { f.slurm_tasks = 8; }); },
             Status::kFailed,
             {"launcher", "Slurm started 8 tasks", "--mpi=pmix"}},
        Sick{"fewer_by_mpirun",
             [](Site s) { all(s, [](RankFacts& f) { f.launcher = "mpirun", f.slurm_tasks = 8; }); },
             Status::kWarning,
             {"the job has 8 tasks", "mpirun -n"}},
        Sick{"idle_nodes",
             [](Site s) { all(s, [](RankFacts& f) { f.slurm_nodes = 4; }); },
             Status::kWarning,
             {"ranks", "the job has 4 nodes"}},
        Sick{"uneven",
             [](Site s) {
               s[1].host = "n1", s[1].node = 2, s[2].node = 2;
               s[1].processors = {};
             },
             Status::kWarning,
             {"1 on n0, 3 on n1", "--ntasks-per-node"}},
        Sick{"node_in_two_parts",
             [](Site s) {
               s[3].node = 3;
               s[2].processors = s[3].processors = {0, 1, 2, 3, 4, 5, 6, 7};
             },
             Status::kWarning,
             {"ranks of n1 do not share memory"}},
        Sick{"libraries",
             [](Site s) { s[2].mpi_library = s[3].mpi_library = "Open MPI v5.0.0"; },
             Status::kFailed,
             {"MPI library", "ranks 0-1: Open MPI v4.1.4; ranks 2-3: Open MPI v5.0.0"}},
        Sick{"overlap",
             [](Site s) {
               s[3].processors = {3, 4, 5, 6};
             },
             Status::kWarning,
             {"binding", "ranks 2 and 3 on n1 may both use processors 3"}},
        Sick{"crowded",
             [](Site s) { s[2].thread_warnings = s[3].thread_warnings = {"8 threads on 4 processors"}; },
             Status::kWarning,
             {"binding", "ranks 2-3: 8 threads on 4 processors", "-c"}},
        Sick{"one_core",
             [](Site s) { all(s, [](RankFacts& f) { f.processors = {0}, f.num_node_processors = 64; }); },
             Status::kWarning,
             {"the ranks of n0 may use 1 of its 64 processors"}},
        Sick{"paths", [](Site s) { s[3].isa = "portable"; }, Status::kWarning, {"processors", "rank 3: portable"}},
        Sick{"tcp",
             [](Site s) { all(s, [](RankFacts& f) { f.transport_layer = "ob1", f.networks = {"tcp"}; }); },
             Status::kWarning,
             {"transport", "OMPI_MCA_pml=ucx"}},
        Sick{"transports",
             [](Site s) { s[1].transport = "ob1 (tcp)", s[1].transport_layer = "ob1"; },
             Status::kFailed,
             {"transport", "rank 1: ob1", "OMPI_MCA_pml"}},
        Sick{"no_common_network",
             [](Site s) {
               all(s, [](RankFacts& f) { f.transport_layer = "ob1", f.networks = {"openib"}; });
               s[3].networks = {"usnic"};
             },
             Status::kFailed,
             {"transport", "OMPI_MCA_btl"}},
        Sick{"more_networks",
             [](Site s) {
               all(s, [](RankFacts& f) { f.transport_layer = "ob1", f.networks = {"openib", "tcp"}; });
               s[3].networks = {"openib"};
             },
             Status::kWarning,
             {"transport", "not the same on all ranks"}},
        Sick{"ucx_words", [](Site s) { s[2].networks = {"rc"}; }, Status::kWarning, {"transport", "UCX_TLS"}},
        Sick{"no_vader",
             [](Site s) {
               all(s, [](RankFacts& f) { f.memory_transports = {"vader"}; });
               s[3].memory_transports = {};
             },
             Status::kWarning,
             {"transport", "ranks 2 and 3 of n1 do not use the same shared memory"}},
        Sick{"no_reads",
             [](Site s) {
               all(s, [](RankFacts& f) { f.memory_transports = {"vader"}, f.reads_neighbour = false; });
               all(s, [](RankFacts& f) { f.single_copy = "none"; });
             },
             Status::kWarning,
             {"single copy", "ranks of n0 may not read each other's memory", "copied twice", "SYS_PTRACE"}},
        Sick{"no_reads_but_cma",
             [](Site s) {
               all(s, [](RankFacts& f) { f.memory_transports = {"vader"}; });
               s[2].reads_neighbour = false;
             },
             Status::kWarning,
             {"single copy", "ranks of n1", "prints an error", "single_copy_mechanism=none"}},
        Sick{"half_a_core",
             [](Site s) { all(s, [](RankFacts& f) { f.cpu_quota = 0.5; }); },
             Status::kWarning,
             {"binding", "a CPU quota of 0.5 of 8 processors", "--cpus"}},
        Sick{"cgroup",
             [](Site s) { s[2].memory_bytes = 4 * kGiB; },
             Status::kWarning,
             {"memory", "4.0 of 256.0 GiB can be had on n1", "--mem=0"}},
        Sick{"no_memory", [](Site s) { s[2].memory_bytes = 1 << 20; }, Status::kFailed, {"memory", "n1"}},
        Sick{"small_shm",
             [](Site s) { s[3].shared_memory_bytes = 64 << 20; },
             Status::kWarning,
             {"/dev/shm", "0.06 GiB left on n1", "--dispatch flat"}},
        Sick{"no_shm", [](Site s) { s[3].shared_memory_bytes = 0; }, Status::kFailed, {"/dev/shm"}},
        Sick{"locked", [](Site s) { s[1].lockable_bytes = 64 << 10; }, Status::kWarning, {"limits", "ulimit -l"}},
        Sick{"address_space",
             [](Site s) { s[1].address_space_bytes = 8 * kGiB, s[1].process_memory_bytes = 7 * kGiB; },
             Status::kWarning,
             {"limits", "a rank on n0 may have 7168 MiB more", "ulimit -v"}},
        Sick{"no_address_space",
             [](Site s) { s[2].process_memory_bytes = 100 << 20; },
             Status::kFailed,
             {"limits", "a rank on n1 may have 100 MiB more"}},
        Sick{"files", [](Site s) { s[1].open_files = 64; }, Status::kWarning, {"ulimit -n"}}),
    [](const auto& info) { return std::string(info.param.name); });

/// All pairs of 5 nodes, each between the nodes' only ranks.
std::vector<PeerCost> five_nodes() {
  std::vector<PeerCost> peers;
  for (int a = 0; a < 5; ++a)
    for (int b = a + 1; b < 5; ++b) peers.push_back({a, b, false, 2.0 + 0.1 * b, 10.0 - 0.2 * a});
  return peers;
}
const std::vector<std::string> kHosts{"n0", "n1", "n2", "n3", "n4"};

TEST(Doctor, NamesThePairAndTheNodeThatStandOut) {
  auto peers = five_nodes();
  EXPECT_EQ(complaint(judge_peers(peers, kHosts, "ucx", false)), "");
  peers[2].gbps = 1;  // of 0 and 3
  EXPECT_THAT(
      complaint(judge_peers(peers, kHosts, "ucx", false)),
      AllOf(HasSubstr("1 of them stand out"), HasSubstr("ranks 0 (n0) and 3 (n3)"), Not(HasSubstr("every link"))));
  for (PeerCost& peer : peers)
    if (peer.a == 3 || peer.b == 3) peer.latency_us = 100;
  EXPECT_THAT(complaint(judge_peers(peers, kHosts, "ucx", false)), HasSubstr("every link of n3 does"));
  EXPECT_EQ(complaint(judge_peers(peers, kHosts, "ucx", true)), "");  // ranks on too few processors: noise
  EXPECT_THAT(judge_peers({}, kHosts, "ucx", false), IsEmpty());
}

TEST(Doctor, ComplainsOfANetworkThatIsNone) {
  const auto of_two_nodes = [](double latency_us, double gbps, bool crowded = false) {
    return complaint(judge_peers({{0, 1, false, latency_us, gbps}}, {"n0", "n1"}, "ob1 (tcp, vader)", crowded));
  };
  EXPECT_EQ(of_two_nodes(2, 12), "");
  EXPECT_EQ(of_two_nodes(90, 0.11), "");  // gigabit Ethernet
  EXPECT_THAT(of_two_nodes(1600, 0.15),
              AllOf(HasSubstr("1 between nodes beyond 200 us or below 0.1 GB/s, most of all ranks 0 (n0) and 1 (n1) "
                              "with 1600.0 us, 0.15 GB/s"),
                    HasSubstr("go by ob1 (tcp, vader)"), HasSubstr("wait 205 ms of each token for 1600 us"),
                    HasSubstr("--pp")));
  EXPECT_THAT(of_two_nodes(50, 0.05), HasSubstr("0.05 GB/s"));
  EXPECT_EQ(of_two_nodes(1600, 0.15, true), "");
  EXPECT_EQ(complaint(judge_peers({{0, 1, true, 1600, 0.05}}, {"n0", "n0"}, "ob1 (vader)", false)), "");
}

TEST(Doctor, ComplainsOfClocksThatAreSurelyWrong) {
  EXPECT_EQ(judge_clocks({{"n1", 0.01, 0.001}, {"n2", -0.5, 0.001}}).status, Status::kOk);
  EXPECT_EQ(judge_clocks({{"n1", 2, 1.5}}).status, Status::kOk);
  const Finding finding = judge_clocks({{"n1", 0.01, 0.001}, {"n2", -7200, 0.001}});
  EXPECT_EQ(finding.status, Status::kWarning);
  EXPECT_THAT(finding.text, HasSubstr("n2 is 7200.000 s behind"));
}

TEST(Doctor, JudgesAFolderByAllNodes) {
  const FolderFacts good{"n0", "", "lustre", 100 * kGiB, 0, "", "", 500};
  std::vector<FolderFacts> nodes{good, good};
  nodes[1].host = "n1";
  const WriteRates rates{400, 3};
  EXPECT_EQ(complaint(judge_folder("/scratch", nodes, rates)), "");
  const auto with = [&](auto&& change, const WriteRates& rates) {
    auto changed = nodes;
    change(changed[1]);
    return judge_folder("/scratch", changed, rates);
  };
  const Findings unseen = with([](FolderFacts& f) { f.problem = "No such file or directory"; }, rates);
  EXPECT_EQ(worst(unseen), Status::kFailed);
  EXPECT_THAT(complaint(unseen), AllOf(HasSubstr("n1"), HasSubstr("that n0 wrote"), HasSubstr("--path")));
  const Findings refused = with([](FolderFacts& f) { f.error = "cannot be written: Permission denied"; }, rates);
  EXPECT_EQ(worst(refused), Status::kFailed);
  EXPECT_THAT(complaint(refused), HasSubstr("on n1: cannot be written"));
  EXPECT_EQ(worst(with([](FolderFacts& f) { f.seen_after_s = 4; }, rates)), Status::kWarning);
  EXPECT_THAT(complaint(with([](FolderFacts& f) { f.lock_problem = "locks do not reach other nodes"; }, rates)),
              HasSubstr("locks do not reach other nodes (on n1)"));
  EXPECT_EQ(worst(judge_folder("/scratch", nodes, {400, 900})), Status::kWarning);
  nodes[0].free_bytes = 1 << 20;
  EXPECT_THAT(complaint(judge_folder("/scratch", nodes, rates)), HasSubstr("little space"));
}

}  // namespace
}  // namespace moesaic::apps::doctor
