#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace moesaic::io {

/// An HDF5 identifier, closed by the function that its kind asks for; move-only.
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept;
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept;
  ~Hdf5Handle();
  hid_t id() const { return id_; }
  /// Closes now; returns what HDF5 says (negative: failed).
  herr_t close();
  /// Leaves the object open, for ever.
  void abandon() { id_ = H5I_INVALID_HID; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

/// Native memory and file types; little-endian in files.
template <class T>
struct Hdf5Type;  // float, std::int32_t, std::int8_t, std::uint8_t, std::int64_t
template <>
struct Hdf5Type<float> {
  static hid_t memory();
  static hid_t file();
};
template <>
struct Hdf5Type<std::int32_t> {
  static hid_t memory();
  static hid_t file();
};
template <>
struct Hdf5Type<std::int64_t> {
  static hid_t memory();
  static hid_t file();
};
template <>
struct Hdf5Type<std::int8_t> {
  static hid_t memory();
  static hid_t file();
};
template <>
struct Hdf5Type<std::uint16_t> {
  static hid_t memory();
  static hid_t file();
};
template <>
struct Hdf5Type<std::uint8_t> {
  static hid_t memory();
  static hid_t file();
};

/// A dataset open for writing; contiguous, row-major.
class Hdf5Dataset {
 public:
  Hdf5Dataset(Hdf5Handle handle, std::string name, std::vector<std::int64_t> shape);

  /// Writes whole rows. `begin` has an index for each of the first k axes, k >= 1; `values` continues from there along
  /// axis k-1, the other leading indices fixed, the axes behind it whole:
  /// (T, V): write_rows({t}, rows); (L, T, D): write_rows({layer, t}, rows).
  template <class T>
  void write_rows(std::initializer_list<std::int64_t> begin, std::span<const T> values) {
    write(std::span(begin.begin(), begin.size()), Hdf5Type<T>::memory(), values.data(), values.size());
  }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  /// Where the data begins in the file, from its first byte.
  std::int64_t offset_bytes() const;

 private:
  void write(std::span<const std::int64_t> begin, hid_t type, const void* values, std::size_t num_values);

  Hdf5Handle handle_;
  std::string name_;
  std::vector<std::int64_t> shape_;
};

/// A whole dataset in memory.
template <class T>
struct Hdf5Array {
  std::vector<std::int64_t> shape;
  std::vector<T> values;  ///< row-major
};

/// How a file is laid out; the defaults suit results.
struct Hdf5Layout {
  std::int64_t user_block_bytes = 0;  ///< 0 or a power of two from 512 on
  std::int64_t alignment_bytes = 1;   ///< of objects of at least this size
};

/// Call it before MPI_Init; the files call it too. HDF5's exit handler, which it hangs into MPI_Finalize when MPI is
/// there already, would flush once more a file that a full disk has kept from being closed, and crash; our files are
/// closed where they are used. HDF5 prints its error stack by default; ours goes into an Error.
void prepare_hdf5();

/// An HDF5 file used by one process. Every failing call is an Error with the file's name and HDF5's own reason.
class Hdf5File {
 public:
  static Hdf5File create(const std::string& path, const Hdf5Layout& layout = {});  ///< an existing file is replaced
  static Hdf5File open(const std::string& path);                                   ///< read-only
  Hdf5File(Hdf5File&&) noexcept = default;
  ~Hdf5File();

  const std::string& path() const { return path_; }
  bool contains(const std::string& name) const;
  /// Names of a group's members ("/" or "/seq0"), ascending.
  std::vector<std::string> members(const std::string& group) const;

  /// Space is allocated at once and not filled; missing groups on the way are made.
  template <class T>
  Hdf5Dataset create_dataset(const std::string& name, const std::vector<std::int64_t>& shape) {
    return create(name, shape, Hdf5Type<T>::file());
  }
  template <class T>
  Hdf5Array<T> read(const std::string& name) const {
    Hdf5Array<T> array{shape_of(name), {}};
    std::size_t size = 1;
    for (const auto extent : array.shape) size *= static_cast<std::size_t>(extent);
    array.values.resize(size);
    read(name, Hdf5Type<T>::memory(), array.values.data());
    return array;
  }
  std::vector<std::int64_t> shape_of(const std::string& name) const;

  /// Attributes of the root group.
  void write_attribute(const std::string& name, std::int64_t value);
  void write_attribute(const std::string& name, double value);
  void write_attribute(const std::string& name, const std::string& value);

  /// Flushes and closes. A file being written that is not closed so is abandoned with what it has: HDF5 1.10 crashes
  /// when it closes a file that a full disk has kept from being flushed.
  void close();

 private:
  enum class Access { kRead, kWrite };
  Hdf5File(std::string path, Hdf5Handle handle, Access access)
      : path_(std::move(path)), handle_(std::move(handle)), access_(access) {}
  Hdf5Dataset create(const std::string& name, const std::vector<std::int64_t>& shape, hid_t type);
  void read(const std::string& name, hid_t type, void* values) const;

  std::string path_;
  Hdf5Handle handle_;
  Access access_;
};

}  // namespace moesaic::io
