// Writes small HDF5 files for tests.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hdf5.h>

namespace trib::test {

/// An HDF5 file being written; closed on destruction. Every call must succeed.
class Hdf5Writer {
 public:
  /// `user_block` bytes, 0 or 512 times a power of two, stand before what belongs to HDF5.
  explicit Hdf5Writer(const std::string& path, hsize_t user_block = 0) {
    const hid_t create = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_userblock(create, user_block);
    file_ = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, create, H5P_DEFAULT);
    H5Pclose(create);
    EXPECT_GE(file_, 0);
  }
  ~Hdf5Writer() { EXPECT_GE(H5Fclose(file_), 0); }
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  /// Write a dataset (with its groups) of any stored type from doubles; chunked and compressed if
  /// `chunks` are given, then perhaps with a checksum.
  void dataset(const std::string& path, hid_t type, const std::vector<hsize_t>& shape,
               const std::vector<double>& values, const std::vector<hsize_t>& chunks = {},
               bool checksum = false) {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t link = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(link, 1);
    if (!chunks.empty()) {
      H5Pset_chunk(create, static_cast<int>(chunks.size()), chunks.data());
      H5Pset_shuffle(create);
      H5Pset_deflate(create, 4);
      if (checksum) H5Pset_fletcher32(create);
    }
    const hid_t set = H5Dcreate2(file_, path.c_str(), type, space, link, create, H5P_DEFAULT);
    EXPECT_GE(set, 0) << path;
    EXPECT_GE(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Dclose(set);
    H5Pclose(link);
    H5Pclose(create);
    H5Sclose(space);
  }

  hid_t id() const { return file_; }

  /// The same with values 0, 1, 2, ...
  void counted(const std::string& path, hid_t type, const std::vector<hsize_t>& shape,
               const std::vector<hsize_t>& chunks = {}, bool checksum = false) {
    std::vector<double> values(
        std::accumulate(shape.begin(), shape.end(), hsize_t{1}, std::multiplies<>()));
    std::iota(values.begin(), values.end(), 0.0);
    dataset(path, type, shape, values, chunks, checksum);
  }

  void attribute(const std::string& object, const std::string& name,
                 const std::vector<double>& values) {
    const hsize_t count = values.size();
    const hid_t space = H5Screate_simple(1, &count, nullptr);
    write_attribute(object, name, H5T_IEEE_F64BE, H5T_NATIVE_DOUBLE, space, values.data());
  }
  void text_attribute(const std::string& object, const std::string& name, const std::string& text) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, text.size());
    write_attribute(object, name, type, type, H5Screate(H5S_SCALAR), text.data());
    H5Tclose(type);
  }

 private:
  void write_attribute(const std::string& object, const std::string& name, hid_t type, hid_t memory,
                       hid_t space, const void* data) {
    const hid_t holder = H5Oopen(file_, object.c_str(), H5P_DEFAULT);
    const hid_t a = H5Acreate2(holder, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(H5Awrite(a, memory, data), 0) << name;
    H5Aclose(a);
    H5Oclose(holder);
    H5Sclose(space);
  }

  hid_t file_;
};

}  // namespace trib::test
