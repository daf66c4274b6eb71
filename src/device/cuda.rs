//! What CUDA needs besides the driver, and where its kernels are kept.
//!
//! Input: the environment. Output: the place of NVIDIA's maths library, and a folder in which kernels that were compiled and
//! tuned once are found again by the next process.

use std::path::{Path, PathBuf};

/// Bitcode of exp, log and the like, for every generation of GPUs.
const LIBDEVICE: &str = "nvvm/libdevice/libdevice.10.bc";
/// Where CUDA toolkits are, in the order in which the compiler of the kernels looks.
const ROOTS: [&str; 4] = ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"];
/// Names the folder of compiled kernels.
pub const KERNELS_VARIABLE: &str = "SAGEMAKER_BURN_KERNELS_CACHE";
/// Survives from job to job in a warm pool (SageMaker's KeepAlivePeriodInSeconds).
const WARM_POOL: &str = "/opt/ml/sagemaker/warmpoolcache";

/// There is no maths library for the GPU.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{} was not found, and kernels with exp or log need it: install CUDA's nvvm part (the PyPI package nvidia-cuda-nvcc-cu12 has it, too) and set CUDA_PATH to the folder that holds nvvm, or use --device cpu",
    looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
)]
pub struct LibdeviceMissing {
    looked: Vec<PathBuf>,
}

/// Where the maths library of the GPU is, by the rules of the compiler that links it.
///
/// # Errors
/// It is not there; the error lists where it was looked for.
pub fn libdevice() -> Result<PathBuf, LibdeviceMissing> {
    libdevice_in(std::env::var_os("CUDA_PATH").map(PathBuf::from), &ROOTS)
}

fn libdevice_in(set: Option<PathBuf>, roots: &[&str]) -> Result<PathBuf, LibdeviceMissing> {
    let looked: Vec<PathBuf> = match set {
        // The compiler looks nowhere else then.
        Some(root) => vec![root.join(LIBDEVICE)],
        None => roots
            .iter()
            .map(|root| Path::new(root).join(LIBDEVICE))
            .collect(),
    };
    match looked.iter().find(|path| path.is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(LibdeviceMissing { looked }),
    }
}

/// The folder of compiled kernels: `SAGEMAKER_BURN_KERNELS_CACHE`, else a warm pool's folder in a SageMaker job, else a folder
/// beside downloaded weights. `None` without any of them.
pub fn kernels_folder() -> Option<PathBuf> {
    let set = std::env::var_os(KERNELS_VARIABLE).filter(|folder| !folder.is_empty());
    let pool = Path::new(WARM_POOL);
    match set {
        Some(folder) => Some(folder.into()),
        None if pool.is_dir() => Some(pool.join("sagemaker-burn-kernels")),
        None => {
            let cache = crate::zoo::Cache::from_env().ok()?;
            Some(cache.folder().join("kernels"))
        }
    }
}

/// Has compiled kernels and the results of tuning them kept in [`kernels_folder`]. Must come before the first tensor on a GPU;
/// later calls change nothing. A `cubecl.toml` in the working folder goes before.
#[cfg(feature = "cuda")]
pub fn keep_kernels() {
    use cubecl_runtime::config::cache::CacheConfig;
    use cubecl_runtime::config::{CubeClRuntimeConfig, RuntimeConfig};

    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    if let (CacheConfig::Target, Some(folder)) = (&config.environment.path, kernels_folder()) {
        config.environment.path = CacheConfig::Directory(folder);
    }
    CubeClRuntimeConfig::try_set(config);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maths_library_is_found_where_the_compiler_looks() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cuda");
        let file = root.join(LIBDEVICE);
        let roots = [root.to_str().unwrap()];
        let missing = libdevice_in(None, &roots).unwrap_err();
        assert_eq!(missing.looked.as_slice(), std::slice::from_ref(&file));
        assert!(missing.to_string().contains("CUDA_PATH"), "{missing}");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, b"BC").unwrap();
        assert_eq!(libdevice_in(None, &roots), Ok(file.clone()));
        assert_eq!(libdevice_in(Some(root.clone()), &[]), Ok(file));
        // CUDA_PATH is final, as it is for the compiler.
        let elsewhere = Some(folder.path().join("other"));
        assert!(libdevice_in(elsewhere, &roots).is_err());
    }
}
