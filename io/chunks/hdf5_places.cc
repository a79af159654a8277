#include "io/chunks/hdf5_places.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <limits>
#include <memory>

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

namespace trib::io {
namespace {

// Where the next read of raw data would have gone to; null while reads are to be done.
thread_local ChunkPlace* wanted_place = nullptr;

struct File {
  H5FD_t base;  // first, as libhdf5 wants
  int descriptor;
  haddr_t end_of_allocation;
  haddr_t size;
  dev_t device;
  ino_t inode;
};

File& file_of(H5FD_t* file) {
  return *reinterpret_cast<File*>(file);
}
const File& file_of(const H5FD_t* file) {
  return *reinterpret_cast<const File*>(file);
}

H5FD_t* open_file(const char* name, unsigned flags, hid_t, haddr_t) {
  if ((flags & H5F_ACC_RDWR) != 0) return nullptr;
  // A link may name a pipe, on which opening would wait for ever.
  const int descriptor = ::open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return nullptr;
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return nullptr;
  }
  auto file = std::make_unique<File>();
  file->descriptor = descriptor;
  file->size = static_cast<haddr_t>(status.st_size);
  file->device = status.st_dev;
  file->inode = status.st_ino;
  return &file.release()->base;
}

herr_t close_file(H5FD_t* base) {
  const std::unique_ptr<File> file(&file_of(base));
  return ::close(file->descriptor) == 0 ? 0 : -1;
}

int compare(const H5FD_t* a, const H5FD_t* b) {
  const File &first = file_of(a), &second = file_of(b);
  if (first.device != second.device) return first.device < second.device ? -1 : 1;
  if (first.inode != second.inode) return first.inode < second.inode ? -1 : 1;
  return 0;
}

herr_t query(const H5FD_t*, unsigned long* flags) {
  *flags = H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t end_of_allocation(const H5FD_t* file, H5FD_mem_t) {
  return file_of(file).end_of_allocation;
}
herr_t set_end_of_allocation(H5FD_t* file, H5FD_mem_t, haddr_t address) {
  file_of(file).end_of_allocation = address;
  return 0;
}
haddr_t end_of_file(const H5FD_t* file, H5FD_mem_t) {
  return file_of(file).size;
}

herr_t read(H5FD_t* base, H5FD_mem_t type, hid_t, haddr_t address, std::size_t size, void* out) {
  if (type == H5FD_MEM_DRAW && wanted_place != nullptr) {
    wanted_place->offset = address;
    wanted_place->bytes = size;
    return 0;
  }
  auto* to = static_cast<char*>(out);
  while (size > 0) {
    if (address > static_cast<haddr_t>(std::numeric_limits<off_t>::max())) return -1;
    const ssize_t got = ::pread(file_of(base).descriptor, to, size, static_cast<off_t>(address));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) {  // beyond the end, which libhdf5 expects to be zero
      std::fill_n(to, size, '\0');
      return 0;
    }
    to += got;
    size -= static_cast<std::size_t>(got);
    address += static_cast<haddr_t>(got);
  }
  return 0;
}

herr_t write(H5FD_t*, H5FD_mem_t, hid_t, haddr_t, std::size_t, const void*) {
  return -1;
}

hid_t driver() {
  static hid_t id = H5I_INVALID_HID;
  if (id >= 0 && H5Iget_type(id) == H5I_VFL) return id;
  static const H5FD_class_t driver_class = [] {
    H5FD_class_t c{};
    c.name = "tributary";
    c.maxaddr = static_cast<haddr_t>(std::numeric_limits<off_t>::max());
    c.fc_degree = H5F_CLOSE_WEAK;
    c.open = open_file;
    c.close = close_file;
    c.cmp = compare;
    c.query = query;
    c.get_eoa = end_of_allocation;
    c.set_eoa = set_end_of_allocation;
    c.get_eof = end_of_file;
    c.read = read;
    c.write = write;
    const H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;
    static_assert(sizeof(map) == sizeof(c.fl_map));
    std::copy(std::begin(map), std::end(map), c.fl_map);
    return c;
  }();
  id = H5FDregister(&driver_class);
  return id;
}

}  // namespace

Hdf5Handle open_hdf5_file(const std::string& path) {
  Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!access.valid() || H5Pset_driver(access.id(), driver(), nullptr) < 0) return {};
  Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), H5Fclose);
  if (!file.valid()) {
    // Closing the list would wipe out the reason.
    const hid_t reason = H5Eget_current_stack();
    access = {};
    H5Eset_current_stack(reason);
  }
  return file;
}

std::optional<ChunkPlace> find_chunk(const Hdf5Handle& dataset,
                                     std::span<const std::uint64_t> start) {
  static_assert(sizeof(hsize_t) == sizeof(std::uint64_t));
  const auto* offset = reinterpret_cast<const hsize_t*>(start.data());
  hsize_t bytes = 0;
  ChunkPlace place;
  if (H5Dget_chunk_storage_size(dataset.id(), offset, &bytes) < 0) {
    // Some versions take it for an error to ask for a chunk that was never written.
    if (Hdf5Session::error_text().find("is not allocated") == std::string::npos) return {};
    return place;
  }
  if (bytes == 0) return place;
  // The driver notes the place in the stead of reading, so that nothing is written here.
  std::byte nowhere{};
  wanted_place = &place;
  const herr_t status = H5Dread_chunk(dataset.id(), H5P_DEFAULT, offset, &place.skipped, &nowhere);
  wanted_place = nullptr;
  if (status < 0 || place.bytes != bytes) return {};
  return place;
}

}  // namespace trib::io
