#include "xai/pickle.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "../io/expect_error.hpp"
#include "../io/temporary_folder.hpp"
#include "pickle_builder.hpp"

namespace moesaic::converters {
namespace {

using test::PickleBuilder;

PickledTensor read(const std::string& pickle) { return read_pickle(std::as_bytes(std::span(pickle)), "p"); }

std::string payload(const PickledArray& array) {
  std::vector<std::byte> storage;
  const auto bytes = payload_bytes(array, storage, "p");
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const std::string kFloats(24, 'f');  // (2, 3) float32

TEST(Pickle, ReadsAnArray) {
  for (const char* module : {"numpy.core", "numpy._core"}) {
    const std::string pickle = PickleBuilder().array("f4", {2, 3}, kFloats, true, "<", module).stop();
    const auto tensor = read(pickle);
    EXPECT_EQ(tensor.weight.type, PickledType::kFloat32);
    EXPECT_EQ(tensor.weight.shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_TRUE(tensor.weight.fortran_order);
    EXPECT_EQ(payload(tensor.weight), kFloats);
    EXPECT_FALSE(tensor.scales);
  }
}

TEST(Pickle, ReadsQuantizedWeights) {
  for (const char* module : {"model", "__main__"}) {
    const std::string pickle = PickleBuilder(2)
                                   .global(module, "QuantizedWeight8bit")
                                   .op(')')
                                   .op(0x81)
                                   .op('}')
                                   .op('(')
                                   .unicode("weight")
                                   .array("i1", {2, 2}, "\x80\x7f\x01\xff", false, "|")
                                   .unicode("scales")
                                   .array("bfloat16", {1, 2}, "abcd")
                                   .op('u')
                                   .op('b')
                                   .stop();
    const auto tensor = read(pickle);
    EXPECT_EQ(tensor.weight.type, PickledType::kInt8);
    EXPECT_EQ(payload(tensor.weight), "\x80\x7f\x01\xff");
    ASSERT_TRUE(tensor.scales);
    EXPECT_EQ(tensor.scales->type, PickledType::kBfloat16);
    EXPECT_EQ(payload(*tensor.scales), "abcd");
  }
}

/// _codecs.encode(text, "latin1"), as protocol 2 has bytes.
TEST(Pickle, DecodesLatinText) {
  const auto pickle = [](std::string_view utf8) {
    return PickleBuilder(2)
        .global("numpy.core.multiarray", "_reconstruct")
        .global("numpy", "ndarray")
        .integer(0)
        .op(0x85)
        .global("_codecs", "encode")
        .unicode("b")
        .unicode("latin1")
        .op(0x86)
        .op('R')
        .op(0x87)
        .op('R')
        .op('(')
        .integer(1)
        .shape({3})
        .dtype("i1", "|")
        .op(0x89)
        .global("_codecs", "encode")
        .unicode(utf8)
        .unicode("latin1")
        .op(0x86)
        .op('R')
        .op('t')
        .op('b')
        .stop();
  };
  const std::string good = pickle("\x7f\xc2\x80\xc3\xbf");
  EXPECT_EQ(payload(read(good).weight), "\x7f\x80\xff");
  const std::string euro = pickle("\xe2\x82\xac");
  EXPECT_ERROR((void)payload(read(euro).weight), "not Latin-1");
  const std::string cut = pickle("\x7f\x7f\xc2");
  EXPECT_ERROR((void)payload(read(cut).weight), "not Latin-1");
}

TEST(Pickle, ReadsBuffersOfProtocolFive) {
  const std::string pickle = PickleBuilder(5)
                                 .global("numpy._core.numeric", "_frombuffer")
                                 .op('(')
                                 .op(0x96)
                                 .number<std::uint64_t>(24)
                                 .raw(kFloats)
                                 .dtype("f4", "<")
                                 .shape({2, 3})
                                 .unicode("F")
                                 .op('t')
                                 .op('R')
                                 .stop();
  const auto tensor = read(pickle);
  EXPECT_TRUE(tensor.weight.fortran_order);
  EXPECT_EQ(payload(tensor.weight), kFloats);
}

TEST(Pickle, RefusesForbiddenGlobalsByName) {
  EXPECT_ERROR(read(PickleBuilder().global("os", "system").unicode("touch /tmp/owned").op(0x85).op('R').stop()),
               "'os.system'");
  EXPECT_ERROR(read(PickleBuilder().unicode("posix").unicode("system").op(0x93).stop()), "'posix.system'");
  EXPECT_ERROR(read(PickleBuilder().op('i').raw("os\nsystem\n").stop()), "'os.system'");
  EXPECT_ERROR(read(PickleBuilder().global("builtins", "eval").stop()), "'builtins.eval'");
  EXPECT_ERROR(read(PickleBuilder().global("numpy", "load").stop()), "'numpy.load'");
  EXPECT_ERROR(read(PickleBuilder().global("other", "QuantizedWeight8bit").stop()), "'other.QuantizedWeight8bit'");
}

TEST(Pickle, RefusesWhatItCannotKeepExactly) {
  EXPECT_ERROR(read(PickleBuilder().array("f4", {2, 3}, kFloats, false, ">").stop()), "big-endian");
  EXPECT_EQ(read(PickleBuilder().array("f8", {3}, kFloats).stop()).weight.type_name, "f8");
  EXPECT_ERROR(read(PickleBuilder().array("f4", {2, 4}, kFloats).stop()), "32 bytes by its shape has 24");
  EXPECT_ERROR(read(PickleBuilder().array("f4", {-2, 3}, kFloats).stop()), "extent of -2");
  EXPECT_ERROR(read(PickleBuilder().array("f4", {1LL << 40, 1LL << 40}, kFloats).stop()), "extent");
}

TEST(Pickle, RefusesGarbage) {
  EXPECT_ERROR(read(""), "is empty");
  EXPECT_ERROR(read("garbage"), "not a pickle of protocol 2 to 5");
  EXPECT_ERROR(read("\x80\x06."), "protocol 6");
  EXPECT_ERROR(read(PickleBuilder().op(0x8e).number<std::uint64_t>(~0ull).stop()), "1 are left");
  EXPECT_ERROR(read(PickleBuilder().op(0x95).number<std::uint64_t>(1 << 20).stop()), "truncated: a frame");
  EXPECT_ERROR(read(PickleBuilder().op('N').stop() + "x"), "1 bytes follow its end");
  EXPECT_ERROR(read(PickleBuilder().op('N').stop()), "neither an array");
  EXPECT_ERROR(read(PickleBuilder().stop()), "0 objects are left");
  EXPECT_ERROR(read(PickleBuilder().op('R').stop()), "stack is empty");
  EXPECT_ERROR(read(PickleBuilder().op('t').stop()), "begin of a list is missing");
  EXPECT_ERROR(read(PickleBuilder().op('h').number<std::uint8_t>(3).stop()), "object 3, which it has not stored");
  EXPECT_ERROR(read(PickleBuilder(5).op(0x97).stop()), "out-of-band");
  EXPECT_ERROR(read(PickleBuilder().array("f4", {6}, kFloats).stop().substr(0, 120)), "truncated or damaged");
}

TEST(Pickle, BombsAreRefusedNotFatal) {
  std::string nested = PickleBuilder().op(')').stop();
  nested.insert(nested.size() - 1, std::string(1'000'000, '\x85'));  // a million nested tuples
  EXPECT_ERROR(read(nested), "more than 100000 objects");
  std::string doubled = PickleBuilder().op('N').stop();
  doubled.insert(doubled.size() - 1, std::string(1'000'000, '2'));
  EXPECT_ERROR(read(doubled), "on its stack");
  std::string memo = PickleBuilder().op('N').stop();
  memo.insert(memo.size() - 1, std::string(1'000'000, '\x94'));
  EXPECT_ERROR(read(memo), "objects stored");
}

TEST(Pickle, MutationsNeverCrash) {
  const std::string quantized = test::read_file(MOESAIC_TEST_DATA "/tiny/ckpt-0/tensor00005_000");
  const std::string norm = test::read_file(MOESAIC_TEST_DATA "/tiny/ckpt-0/tensor00001_000");
  std::mt19937 random(5);
  for (const auto& original : {quantized, norm}) {
    for (int round = 0; round < 20'000; ++round) {
      std::string mutated = original;
      if (round % 5 == 0) mutated.resize(random() % mutated.size());
      for (auto n = 1 + random() % 4; n > 0 && !mutated.empty(); --n) {
        // Most of a file is payload: aim at the opcodes around it.
        const auto place = random() % std::min<std::size_t>(mutated.size(), 400);
        mutated[random() % 2 ? place : mutated.size() - 1 - place] = static_cast<char>(random());
      }
      try {
        const auto tensor = read(mutated);
        (void)payload(tensor.weight);
        if (tensor.scales) (void)payload(*tensor.scales);
      } catch (const Error&) {
      }
    }
  }
}

}  // namespace
}  // namespace moesaic::converters
