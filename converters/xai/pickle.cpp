#include "xai/pickle.hpp"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "xai/pickle_objects.hpp"
#include "xai/pickle_stream.hpp"

namespace moesaic::converters {
namespace {

using namespace pickled;

/// The opcodes of Python's pickletools that a pickler of protocol 2 to 5 writes for arrays.
enum Opcode : std::uint8_t {
  kProto = 0x80,
  kFrame = 0x95,
  kStop = '.',
  kMark = '(',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kNone = 'N',
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kBinFloat = 'G',
  kBinUnicode = 'X',
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kBinBytes8 = 0x8e,
  kByteArray8 = 0x96,
  kNextBuffer = 0x97,
  kReadonlyBuffer = 0x98,
  kEmptyTuple = ')',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kTuple = 't',
  kEmptyDict = '}',
  kSetItem = 's',
  kSetItems = 'u',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kMemoize = 0x94,
  kBinGet = 'h',
  kLongBinGet = 'j',
  kGlobal = 'c',
  kStackGlobal = 0x93,
  kReduce = 'R',
  kNewObj = 0x81,
  kBuild = 'b',
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& source) : stream_(bytes, source), objects_(stream_) {}

  PickledTensor run() {
    check_protocol();
    for (;;) {
      const auto opcode = stream_.number<std::uint8_t>("the next opcode");
      if (opcode == kStop) break;
      step(opcode);
    }
    if (stack_.size() != 1) objects_.malformed(fmt::format("{} objects are left at its end", stack_.size()));
    if (stream_.left() != 0) objects_.malformed(fmt::format("{} bytes follow its end", stream_.left()));
    return objects_.tensor(stack_.back());
  }

 private:
  void check_protocol() {
    if (stream_.left() == 0) fail("{}: is empty, expected a pickle", stream_.source());
    if (stream_.number<std::uint8_t>("PROTO") != kProto)
      fail("{}: not a pickle of protocol 2 to 5 (the first byte is not 0x80)", stream_.source());
    const auto protocol = stream_.number<std::uint8_t>("PROTO");
    if (protocol < 2 || protocol > 5) fail("{}: pickle protocol {}, expected 2 to 5", stream_.source(), protocol);
  }

  void step(std::uint8_t opcode) {
    switch (opcode) {
      case kFrame:
        if (const auto size = stream_.number<std::uint64_t>("FRAME"); size > stream_.left())
          fail("{}: truncated: a frame at byte {} has {} bytes, {} are left", stream_.source(), stream_.position(),
               size, stream_.left());
        return;
      case kMark:
        return push(Mark{});
      case kPop:
        pop();
        return;
      case kPopMark:
        pop_to_mark();
        return;
      case kDup:
        return push_known(top());
      case kNone:
        return push(None{});
      case kNewTrue:
        return push(true);
      case kNewFalse:
        return push(false);
      case kBinInt:
        return push(std::int64_t{stream_.number<std::int32_t>("BININT")});
      case kBinInt1:
        return push(std::int64_t{stream_.number<std::uint8_t>("BININT1")});
      case kBinInt2:
        return push(std::int64_t{stream_.number<std::uint16_t>("BININT2")});
      case kLong1:
        return push_long(stream_.number<std::uint8_t>("LONG1"));
      case kLong4:
        return push_long(stream_.number<std::uint32_t>("LONG4"));
      case kBinFloat:
        return push(std::bit_cast<double>(__builtin_bswap64(stream_.number<std::uint64_t>("BINFLOAT"))));
      case kShortBinUnicode:
        return push_text(stream_.number<std::uint8_t>("SHORT_BINUNICODE"));
      case kBinUnicode:
        return push_text(stream_.number<std::uint32_t>("BINUNICODE"));
      case kBinUnicode8:
        return push_text(stream_.number<std::uint64_t>("BINUNICODE8"));
      case kShortBinBytes:
        return push_bytes(stream_.number<std::uint8_t>("SHORT_BINBYTES"));
      case kBinBytes:
        return push_bytes(stream_.number<std::uint32_t>("BINBYTES"));
      case kBinBytes8:
        return push_bytes(stream_.number<std::uint64_t>("BINBYTES8"));
      case kByteArray8:
        return push_bytes(stream_.number<std::uint64_t>("BYTEARRAY8"));
      case kNextBuffer:
      case kReadonlyBuffer:
        objects_.malformed("its buffers are stored outside of the file (protocol 5, out-of-band)");
      case kEmptyTuple:
        return push(Tuple{});
      case kTuple1:
        return push_tuple(1);
      case kTuple2:
        return push_tuple(2);
      case kTuple3:
        return push_tuple(3);
      case kTuple:
        return push(Tuple{pop_to_mark()});
      case kEmptyDict:
        return push(Dict{});
      case kSetItem: {
        const ValueIdx value = pop(), key = pop();
        return objects_.set_item(top(), key, value);
      }
      case kSetItems:
        return set_items(pop_to_mark());
      case kBinPut:
        return remember(stream_.number<std::uint8_t>("BINPUT"));
      case kLongBinPut:
        return remember(stream_.number<std::uint32_t>("LONG_BINPUT"));
      case kMemoize:
        return remember(static_cast<std::uint32_t>(memo_.size()));
      case kBinGet:
        return recall(stream_.number<std::uint8_t>("BINGET"));
      case kLongBinGet:
        return recall(stream_.number<std::uint32_t>("LONG_BINGET"));
      case kGlobal: {
        const auto module = stream_.line("GLOBAL"), name = stream_.line("GLOBAL");
        return push(objects_.find_global(module, name));
      }
      case kStackGlobal: {
        const auto name = pop_text(), module = pop_text();
        return push(objects_.find_global(module, name));
      }
      case kReduce: {
        const ValueIdx arguments = pop(), callable = pop();
        stack_.push_back(objects_.call(callable, arguments));
        return;
      }
      case kNewObj: {
        const ValueIdx arguments = pop(), type = pop();
        stack_.push_back(objects_.create(type, arguments));
        return;
      }
      case kBuild: {
        const ValueIdx state = pop();
        return objects_.set_state(top(), state);
      }
      default:
        refuse_opcode(opcode);
    }
  }

  [[noreturn]] void refuse_opcode(std::uint8_t opcode) const {
    // The other ways to name a global: say which, as for those on the stack.
    if (opcode == 'i') {
      PickleStream rest = stream_;
      const auto module = rest.line("INST"), name = rest.line("INST");
      (void)objects_.find_global(module, name);
    }
    objects_.malformed(fmt::format("opcode 0x{:02x} is not one that a checkpoint uses", opcode));
  }

  void push(Value value) { stack_.push_back(objects_.add(std::move(value))); }
  void push_text(std::uint64_t size) { push(Text{PickleStream::text(stream_.take(size, "a text"))}); }
  void push_bytes(std::uint64_t size) { push(Bytes{stream_.take(size, "a byte string")}); }

  /// Two's complement, little-endian, of any length.
  void push_long(std::uint64_t size) {
    const auto bytes = stream_.take(size, "an integer");
    if (size > sizeof(std::int64_t)) objects_.malformed(fmt::format("an integer of {} bytes", size));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
    if (size > 0 && size < sizeof value && (std::to_integer<unsigned>(bytes.back()) & 0x80u))
      value |= ~std::uint64_t{0} << (8 * size);
    push(static_cast<std::int64_t>(value));
  }

  void push_tuple(std::size_t size) {
    Tuple tuple;
    tuple.items.resize(size);
    for (std::size_t i = size; i > 0; --i) tuple.items[i - 1] = pop();
    push(std::move(tuple));
  }

  void set_items(const std::vector<ValueIdx>& items) {
    if (items.size() % 2 != 0) objects_.malformed("a dict's key without a value");
    for (std::size_t i = 0; i < items.size(); i += 2) objects_.set_item(top(), items[i], items[i + 1]);
  }

  ValueIdx top() const {
    if (stack_.empty()) objects_.malformed("its stack is empty where an object is needed");
    return stack_.back();
  }

  ValueIdx pop() {
    const ValueIdx idx = top();
    stack_.pop_back();
    return idx;
  }

  std::string_view pop_text() {
    const auto* text = std::get_if<Text>(&objects_[pop()]);
    if (!text) objects_.malformed("a global whose name is no text");
    return text->utf8;
  }

  std::vector<ValueIdx> pop_to_mark() {
    std::size_t mark = stack_.size();
    while (mark > 0 && !std::holds_alternative<Mark>(objects_[stack_[mark - 1]])) --mark;
    if (mark == 0) objects_.malformed("the begin of a list is missing");
    std::vector<ValueIdx> items(stack_.begin() + static_cast<std::ptrdiff_t>(mark), stack_.end());
    stack_.resize(mark - 1);
    return items;
  }

  void remember(std::uint32_t key) {
    memo_[key] = top();
    if (memo_.size() > kMostReferences) objects_.malformed(fmt::format("more than {} objects stored", kMostReferences));
  }

  void recall(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) objects_.malformed(fmt::format("it refers to object {}, which it has not stored", key));
    push_known(found->second);
  }

  void push_known(ValueIdx idx) {
    stack_.push_back(idx);
    if (stack_.size() > kMostReferences)
      objects_.malformed(fmt::format("more than {} objects on its stack", kMostReferences));
  }

  /// A parameter needs about fifty. New objects have a bound of their own (pickle_objects.cpp).
  static constexpr std::size_t kMostReferences = 100'000;

  PickleStream stream_;
  Objects objects_;
  std::vector<ValueIdx> stack_;
  std::unordered_map<std::uint32_t, ValueIdx> memo_;
};

}  // namespace

std::int64_t PickledArray::num_elems() const {
  std::int64_t result = 1;
  for (const auto extent : shape) result *= extent;
  return result;
}

PickledTensor read_pickle(std::span<const std::byte> bytes, const std::string& source) {
  return Machine(bytes, source).run();
}

std::span<const std::byte> payload_bytes(const PickledArray& array, std::vector<std::byte>& storage,
                                         const std::string& source,
                                         const std::function<void(std::span<const std::byte>)>& consumed) {
  if (!array.latin1) return array.payload;
  constexpr std::size_t kPartBytes = 16 << 20;
  const auto text = array.payload;
  storage.resize(static_cast<std::size_t>(array.size_bytes()));
  const auto* in = reinterpret_cast<const unsigned char*>(text.data());
  auto* out = reinterpret_cast<unsigned char*>(storage.data());
  const std::size_t text_size = text.size(), size = storage.size();
  std::size_t i = 0, n = 0;
  unsigned bad = 0;
  while (i < text_size && n < size) {
    const std::size_t begin = i, end = std::min(text_size, i + kPartBytes);
    // U+0080 to U+00FF are C2 80 to C3 BF. By arithmetic, not branches: which bytes take two is random.
    for (; i < end && n < size; ++n) {
      const unsigned c = in[i], next = in[std::min(i + 1, text_size - 1)];
      const unsigned two = c >> 7, mask = 0u - two;
      bad |= mask & (((c & 0xfeu) ^ 0xc2u) | ((next & 0xc0u) ^ 0x80u));
      out[n] = static_cast<unsigned char>((c & ~mask) | ((((c & 3u) << 6) | (next & 0x3fu)) & mask));
      i += 1 + two;
    }
    if (consumed) consumed(text.subspan(begin, std::min(i, text_size) - begin));
  }
  if (bad) fail("{}: the array's content is not Latin-1 text", source);
  if (i != text_size || n != size)
    fail("{}: an array of {} bytes by its shape has another number of bytes of content", source, storage.size());
  return storage;
}

}  // namespace moesaic::converters
