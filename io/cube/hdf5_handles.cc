#include "io/cube/hdf5_handles.h"

#include <type_traits>

#include <hdf5.h>

#include "ops/base/error.h"

namespace trib::io {

static_assert(std::is_same_v<hid_t, std::int64_t>);

void Hdf5Handle::reset() {
  if (id_ < 0) return;
  close_in_session([&] { close_(id_); });
  id_ = -1;
}

Hdf5Session::Hdf5Session() : lock_(hdf5_family_lock()) {
  H5Eget_auto2(H5E_DEFAULT, &print_, &print_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Session::~Hdf5Session() {
  H5Eset_auto2(H5E_DEFAULT, print_, print_data_);
}

std::string Hdf5Session::error_text() {
  std::string text;
  const auto visit = [](unsigned, const H5E_error2_t* error, void* data) -> herr_t {
    auto& out = *static_cast<std::string*>(data);
    if (out.empty() && error->desc != nullptr) out = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &text);
  return text.empty() ? "HDF5 gives no reason" : text;
}

void close_in_session(FunctionRef<void()> close) noexcept {
  try {
    const Hdf5Session session;
    close();
  } catch (const DataError&) {
    return;
  }
}

}  // namespace trib::io
