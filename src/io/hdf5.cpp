#include "io/hdf5.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace moesaic::io {
namespace {

/// HDF5's own reason: the innermost entry of its error stack, of which the system's message when it has one.
std::string hdf5_reason() {
  std::string reason;
  const auto take_first = [](unsigned n, const H5E_error2_t* entry, void* out) -> herr_t {
    if (n == 0 && entry->desc) *static_cast<std::string*>(out) = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &reason);
  constexpr std::string_view kSystem = "error message = '";
  if (const auto begin = reason.find(kSystem); begin != std::string::npos) {
    reason.erase(0, begin + kSystem.size());
    reason.resize(std::min(reason.find('\''), reason.size()));
  }
  return reason.empty() ? "no reason given" : reason;
}

/// The call's result, or an Error with the file's name.
template <class Result>
Result checked(Result result, const char* call, const std::string& path, const std::string& what) {
  if (result < 0) fail("{}: {}: {} failed: {}", path, what, call, hdf5_reason());
  return result;
}

Hdf5Handle property_list(hid_t kind, const std::string& path) {
  return {checked(H5Pcreate(kind), "H5Pcreate", path, "properties"), H5Pclose};
}

/// One process uses the file: no lock, which some parallel file systems do not offer.
Hdf5Handle file_access(const std::string& path, std::int64_t alignment_bytes) {
  auto access = property_list(H5P_FILE_ACCESS, path);
  checked(H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG), "H5Pset_fclose_degree", path, "properties");
  checked(H5Pset_file_locking(access.id(), false, true), "H5Pset_file_locking", path, "properties");
  if (alignment_bytes > 1) {
    const auto bytes = static_cast<hsize_t>(alignment_bytes);
    checked(H5Pset_alignment(access.id(), bytes, bytes), "H5Pset_alignment", path, "properties");
  }
  return access;
}

std::vector<hsize_t> to_hsize(const std::vector<std::int64_t>& shape) { return {shape.begin(), shape.end()}; }

}  // namespace

void prepare_hdf5() {
  static const bool once = [] {
    return H5dont_atexit() >= 0 && H5open() >= 0 && H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  }();
  (void)once;
}

Hdf5Handle::Hdf5Handle(Hdf5Handle&& other) noexcept
    : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}

Hdf5Handle& Hdf5Handle::operator=(Hdf5Handle&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(close_, other.close_);
  return *this;
}

Hdf5Handle::~Hdf5Handle() { (void)close(); }

herr_t Hdf5Handle::close() {
  const hid_t id = std::exchange(id_, H5I_INVALID_HID);
  // The strong close of a file has already closed what was open in it.
  return id >= 0 && H5Iis_valid(id) > 0 ? close_(id) : 0;
}

hid_t Hdf5Type<float>::memory() { return H5T_NATIVE_FLOAT; }
hid_t Hdf5Type<float>::file() { return H5T_IEEE_F32LE; }
hid_t Hdf5Type<std::int32_t>::memory() { return H5T_NATIVE_INT32; }
hid_t Hdf5Type<std::int32_t>::file() { return H5T_STD_I32LE; }
hid_t Hdf5Type<std::int64_t>::memory() { return H5T_NATIVE_INT64; }
hid_t Hdf5Type<std::int64_t>::file() { return H5T_STD_I64LE; }
hid_t Hdf5Type<std::int8_t>::memory() { return H5T_NATIVE_INT8; }
hid_t Hdf5Type<std::int8_t>::file() { return H5T_STD_I8LE; }
hid_t Hdf5Type<std::uint16_t>::memory() { return H5T_NATIVE_UINT16; }
hid_t Hdf5Type<std::uint16_t>::file() { return H5T_STD_U16LE; }
hid_t Hdf5Type<std::uint8_t>::memory() { return H5T_NATIVE_UINT8; }
hid_t Hdf5Type<std::uint8_t>::file() { return H5T_STD_U8LE; }

Hdf5Dataset::Hdf5Dataset(Hdf5Handle handle, std::string name, std::vector<std::int64_t> shape)
    : handle_(std::move(handle)), name_(std::move(name)), shape_(std::move(shape)) {}

std::int64_t Hdf5Dataset::offset_bytes() const {
  const haddr_t offset = H5Dget_offset(handle_.id());
  if (offset == HADDR_UNDEF) fail("dataset {}: H5Dget_offset failed: {}", name_, hdf5_reason());
  return static_cast<std::int64_t>(offset);
}

void Hdf5Dataset::write(std::span<const std::int64_t> begin, hid_t type, const void* values, std::size_t num_values) {
  const std::size_t rank = shape_.size();
  MOESAIC_CHECK(!begin.empty() && begin.size() <= rank, "{}: {} indices for {} axes", name_, begin.size(), rank);
  std::vector<hsize_t> start(rank, 0), count(rank, 1);
  std::size_t row_elems = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    if (axis < begin.size()) start[axis] = static_cast<hsize_t>(begin[axis]);
    if (axis < begin.size()) continue;
    count[axis] = static_cast<hsize_t>(shape_[axis]);
    row_elems *= static_cast<std::size_t>(shape_[axis]);
  }
  if (num_values == 0) return;
  MOESAIC_CHECK(num_values % row_elems == 0, "{}: {} values are not whole rows of {}", name_, num_values, row_elems);
  count[begin.size() - 1] = num_values / row_elems;
  for (std::size_t axis = 0; axis < rank; ++axis)
    MOESAIC_CHECK(start[axis] + count[axis] <= static_cast<hsize_t>(shape_[axis]), "{}: axis {}: {} from {} of {}",
                  name_, axis, count[axis], start[axis], shape_[axis]);

  const Hdf5Handle file_space(checked(H5Dget_space(handle_.id()), "H5Dget_space", name_, "dataset"), H5Sclose);
  checked(H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
          "H5Sselect_hyperslab", name_, "dataset");
  const Hdf5Handle memory_space(
      checked(H5Screate_simple(static_cast<int>(rank), count.data(), nullptr), "H5Screate_simple", name_, "dataset"),
      H5Sclose);
  checked(H5Dwrite(handle_.id(), type, memory_space.id(), file_space.id(), H5P_DEFAULT, values), "H5Dwrite", name_,
          "dataset");
}

Hdf5File Hdf5File::create(const std::string& path, const Hdf5Layout& layout) {
  prepare_hdf5();
  const auto access = file_access(path, layout.alignment_bytes);
  const auto creation = property_list(H5P_FILE_CREATE, path);
  checked(H5Pset_userblock(creation.id(), static_cast<hsize_t>(layout.user_block_bytes)), "H5Pset_userblock", path,
          "properties");
  return {path,
          {checked(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()), "H5Fcreate", path, "file"),
           H5Fclose},
          Access::kWrite};
}

Hdf5File Hdf5File::open(const std::string& path) {
  prepare_hdf5();
  const auto access = file_access(path, 1);
  return {path,
          {checked(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), "H5Fopen", path, "file"), H5Fclose},
          Access::kRead};
}

Hdf5File::~Hdf5File() {
  if (access_ == Access::kWrite) handle_.abandon();
}

bool Hdf5File::contains(const std::string& name) const {
  // H5Lexists needs every group on the way to exist.
  for (std::size_t slash = name.find('/', 1); slash != std::string::npos; slash = name.find('/', slash + 1))
    if (checked(H5Lexists(handle_.id(), name.substr(0, slash).c_str(), H5P_DEFAULT), "H5Lexists", path_, name) == 0)
      return false;
  return checked(H5Lexists(handle_.id(), name.c_str(), H5P_DEFAULT), "H5Lexists", path_, name) > 0;
}

std::vector<std::string> Hdf5File::members(const std::string& group) const {
  const Hdf5Handle handle(checked(H5Gopen2(handle_.id(), group.c_str(), H5P_DEFAULT), "H5Gopen2", path_, group),
                          H5Gclose);
  std::vector<std::string> names;
  const auto take = [](hid_t, const char* member, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(member);
    return 0;
  };
  checked(H5Literate(handle.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, take, &names), "H5Literate", path_, group);
  return names;
}

Hdf5Dataset Hdf5File::create(const std::string& name, const std::vector<std::int64_t>& shape, hid_t type) {
  const auto extents = to_hsize(shape);
  const Hdf5Handle space(checked(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
                                 "H5Screate_simple", path_, name),
                         H5Sclose);
  const auto creation = property_list(H5P_DATASET_CREATE, path_);
  checked(H5Pset_layout(creation.id(), H5D_CONTIGUOUS), "H5Pset_layout", path_, name);
  checked(H5Pset_alloc_time(creation.id(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time", path_, name);
  checked(H5Pset_fill_time(creation.id(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time", path_, name);
  // Without times the same content gives the same file.
  checked(H5Pset_obj_track_times(creation.id(), false), "H5Pset_obj_track_times", path_, name);
  const auto link = property_list(H5P_LINK_CREATE, path_);
  checked(H5Pset_create_intermediate_group(link.id(), 1), "H5Pset_create_intermediate_group", path_, name);
  Hdf5Handle dataset(
      checked(H5Dcreate2(handle_.id(), name.c_str(), type, space.id(), link.id(), creation.id(), H5P_DEFAULT),
              "H5Dcreate2", path_, name),
      H5Dclose);
  return {std::move(dataset), path_ + ": " + name, shape};
}

std::vector<std::int64_t> Hdf5File::shape_of(const std::string& name) const {
  const Hdf5Handle dataset(checked(H5Dopen2(handle_.id(), name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                           H5Dclose);
  const Hdf5Handle space(checked(H5Dget_space(dataset.id()), "H5Dget_space", path_, name), H5Sclose);
  const int rank = checked(H5Sget_simple_extent_ndims(space.id()), "H5Sget_simple_extent_ndims", path_, name);
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  checked(H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr), "H5Sget_simple_extent_dims", path_, name);
  return {extents.begin(), extents.end()};
}

void Hdf5File::read(const std::string& name, hid_t type, void* values) const {
  const Hdf5Handle dataset(checked(H5Dopen2(handle_.id(), name.c_str(), H5P_DEFAULT), "H5Dopen2", path_, name),
                           H5Dclose);
  checked(H5Dread(dataset.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "H5Dread", path_, name);
}

namespace {

void write_scalar(hid_t file, const std::string& path, const std::string& name, hid_t file_type, hid_t memory_type,
                  const void* value) {
  const Hdf5Handle space(checked(H5Screate(H5S_SCALAR), "H5Screate", path, name), H5Sclose);
  const Hdf5Handle attribute(checked(H5Acreate2(file, name.c_str(), file_type, space.id(), H5P_DEFAULT, H5P_DEFAULT),
                                     "H5Acreate2", path, name),
                             H5Aclose);
  checked(H5Awrite(attribute.id(), memory_type, value), "H5Awrite", path, name);
}

}  // namespace

void Hdf5File::write_attribute(const std::string& name, std::int64_t value) {
  write_scalar(handle_.id(), path_, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

void Hdf5File::write_attribute(const std::string& name, double value) {
  write_scalar(handle_.id(), path_, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

void Hdf5File::write_attribute(const std::string& name, const std::string& value) {
  const Hdf5Handle type(checked(H5Tcopy(H5T_C_S1), "H5Tcopy", path_, name), H5Tclose);
  checked(H5Tset_size(type.id(), value.size() + 1), "H5Tset_size", path_, name);
  write_scalar(handle_.id(), path_, name, type.id(), type.id(), value.c_str());
}

void Hdf5File::close() {
  checked(H5Fflush(handle_.id(), H5F_SCOPE_GLOBAL), "H5Fflush", path_, "file");
  checked(handle_.close(), "H5Fclose", path_, "file");
}

}  // namespace moesaic::io
