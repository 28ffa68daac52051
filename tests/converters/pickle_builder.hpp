#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moesaic::test {

/// Writes pickles opcode by opcode, good and bad ones.
class PickleBuilder {
 public:
  explicit PickleBuilder(int protocol = 4) { op(0x80).number<std::uint8_t>(static_cast<std::uint8_t>(protocol)); }

  PickleBuilder& op(int code) { return text_ += static_cast<char>(code), *this; }
  PickleBuilder& raw(std::string_view bytes) { return text_ += bytes, *this; }
  template <class T>
  PickleBuilder& number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  PickleBuilder& global(std::string_view module, std::string_view name) {
    return op('c').raw(module).raw("\n").raw(name).raw("\n");
  }
  PickleBuilder& unicode(std::string_view utf8) {
    return op('X').number(static_cast<std::uint32_t>(utf8.size())).raw(utf8);
  }
  PickleBuilder& bytes(std::string_view content) {
    return op('B').number(static_cast<std::uint32_t>(content.size())).raw(content);
  }
  PickleBuilder& integer(std::int32_t value) { return op('J').number(value); }
  PickleBuilder& shape(const std::vector<std::int64_t>& extents) {
    op('(');
    for (const auto extent : extents) op(0x8a).number<std::uint8_t>(8).number(extent);
    return op('t');
  }

  /// numpy.dtype with a byte order.
  PickleBuilder& dtype(std::string_view name, std::string_view order) {
    global("numpy", "dtype");
    if (name == "bfloat16")
      global("ml_dtypes", "bfloat16");
    else
      unicode(name);
    op(0x89).op(0x88).op(0x87).op('R');  // (name, False, True); REDUCE
    op('(').integer(3).unicode(order).op('N').op('N').op('N').integer(-1).integer(-1).integer(0).op('t');
    return op('b');
  }

  /// A numpy array as protocols 2 to 4 have it; `module`: numpy.core or numpy._core.
  PickleBuilder& array(std::string_view dtype_name, const std::vector<std::int64_t>& extents, std::string_view content,
                       bool fortran = false, std::string_view order = "<", std::string_view module = "numpy.core") {
    global(std::string(module) + ".multiarray", "_reconstruct")
        .global("numpy", "ndarray")
        .integer(0)
        .op(0x85)
        .bytes("b");
    op(0x87).op('R').op('(').integer(1).shape(extents).dtype(dtype_name, order).op(fortran ? 0x88 : 0x89);
    return bytes(content).op('t').op('b');
  }

  std::string stop() const { return text_ + "."; }

 private:
  std::string text_;
};

}  // namespace moesaic::test
