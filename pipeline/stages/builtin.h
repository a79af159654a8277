// The stages that come with the program; one register function a file.
#pragma once

namespace trib::pipeline {

class Registry;

void register_read_raster(Registry& registry);
void register_read_netcdf(Registry& registry);
void register_read_cube(Registry& registry);
void register_read_prepared(Registry& registry);
void register_read_synthetic(Registry& registry);
void register_forcings(Registry& registry);
void register_regrid(Registry& registry);
void register_crop(Registry& registry);
void register_augment(Registry& registry);
void register_normalize(Registry& registry);
void register_batch(Registry& registry);
void register_model_stages(Registry& registry);
void register_train(Registry& registry);
void register_write_raster(Registry& registry);
void register_write_tensors(Registry& registry);
void register_write_netcdf(Registry& registry);
void register_sink(Registry& registry);

/// All of them.
void register_builtin_stages(Registry& registry);

}  // namespace trib::pipeline
