//! The journey on SageMaker, from an empty account to an endpoint and back, on this machine: the programs in `scripts/` and the
//! notebook, unmodified, against a stand-in (`stand_in/`, in Python) that runs this very binary for each training job and endpoint.
//!
//! Input: drawn pictures and a narrow network. Output: what users would see, and the best job, found once more from the logs. The
//! acceptance tests T7 and T12 of the platform's contract. Needs the Python packages `moto[server]`, `boto3` and `awscli`, and for the
//! notebook `sagemaker<3`, `nbclient`, `ipykernel` and `pillow`; says so where they are missing.

pub mod cloud;
mod notebook;
mod refusals;
mod scripts;
