//! The binary interface of XLA's typed foreign functions (`xla/ffi/api/c_api.h`, version 0.1 and the later 0.x, which only
//! add to it), as far as a handler on the CPU needs it, behind a safe view of a call.
//!
//! All structs carry their size; a field is read only where the size that the caller wrote covers it. What does not have
//! the layout, version, type or rank that is expected is an error of the call.

#![allow(unsafe_code)]

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::{offset_of, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::slice;

/// The version that handlers declare: the oldest whose structs these are. The runtime refuses what it does not support
/// when a handler is registered.
const VERSION: (c_int, c_int) = (0, 1);

const METADATA: c_int = 1;
const EXECUTE: c_int = 3;
const BUFFER: c_int = 1;
const SCALAR: c_int = 3;
const STRING: c_int = 4;
const S32: c_int = 4;
const S64: c_int = 5;
const U32: c_int = 8;
const F32: c_int = 11;
const F64: c_int = 12;

#[repr(C)]
struct Extension {
    struct_size: usize,
    kind: c_int,
    next: *mut Extension,
}

#[repr(C)]
struct Version {
    struct_size: usize,
    extension: *mut Extension,
    major: c_int,
    minor: c_int,
}

#[repr(C)]
struct Metadata {
    struct_size: usize,
    version: Version,
    traits: u32,
}

#[repr(C)]
struct MetadataExtension {
    base: Extension,
    metadata: *mut Metadata,
}

/// An error of the runtime, opaque here.
#[repr(C)]
struct XlaError {
    private: [u8; 0],
}

#[repr(C)]
struct ErrorArgs {
    struct_size: usize,
    extension: *mut Extension,
    message: *const c_char,
    code: c_int,
}

/// The head of the table of functions.
#[repr(C)]
struct Api {
    struct_size: usize,
    extension: *mut Extension,
    version: Version,
    internal: *const c_void,
    error_create: Option<unsafe extern "C" fn(*mut ErrorArgs) -> *mut XlaError>,
}

#[repr(C)]
struct RawBuffer {
    struct_size: usize,
    extension: *mut Extension,
    dtype: c_int,
    data: *mut c_void,
    rank: i64,
    dims: *const i64,
}

#[repr(C)]
struct ByteSpan {
    ptr: *const u8,
    len: usize,
}

#[repr(C)]
struct RawScalar {
    dtype: c_int,
    value: *const c_void,
}

/// Arguments or results.
#[repr(C)]
struct RawBuffers {
    struct_size: usize,
    extension: *mut Extension,
    size: i64,
    types: *const c_int,
    items: *const *mut RawBuffer,
}

#[repr(C)]
struct RawAttributes {
    struct_size: usize,
    extension: *mut Extension,
    size: i64,
    types: *const c_int,
    names: *const *const ByteSpan,
    items: *const *const c_void,
}

/// A call, as the runtime hands it over.
#[repr(C)]
struct RawCall {
    struct_size: usize,
    extension: *mut Extension,
    api: *const Api,
    context: *mut c_void,
    stage: c_int,
    arguments: RawBuffers,
    results: RawBuffers,
    attributes: RawAttributes,
}

/// What a handler says went wrong: the argument has not the form that was agreed on, or there is no solution.
pub enum Refusal {
    Argument(String),
    Unsolved(String),
}

impl Refusal {
    fn parts(self) -> (c_int, String) {
        // INVALID_ARGUMENT and FAILED_PRECONDITION
        match self {
            Refusal::Argument(message) => (3, message),
            Refusal::Unsolved(message) => (9, message),
        }
    }
}

/// The numbers of an argument, in C order.
pub enum Numbers<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    U32(&'a [u32]),
}

/// The place for a result, in C order.
pub enum Place<'a> {
    F32(&'a mut [f32]),
    F64(&'a mut [f64]),
    U32(&'a mut [u32]),
    S32(&'a mut [i32]),
}

pub struct Argument<'a> {
    pub numbers: Numbers<'a>,
    pub dims: Vec<usize>,
}

pub struct ResultPlace<'a> {
    pub place: Place<'a>,
    pub dims: Vec<usize>,
}

/// An attribute: integers and floats of 64 bits, and strings.
#[derive(Clone, Copy)]
pub enum Attribute<'a> {
    Int(i64),
    Float(f64),
    Text(&'a str),
}

/// What a handler is given: its arguments, the places for its results, its attributes by name.
pub struct Call<'a> {
    pub arguments: Vec<Argument<'a>>,
    pub results: Vec<ResultPlace<'a>>,
    pub attributes: Vec<(&'a str, Attribute<'a>)>,
}

type Body = fn(Call<'_>) -> Result<(), Refusal>;

/// What XLA may call.
pub trait Operation {
    fn run(call: Call<'_>) -> Result<(), Refusal>;
}

fn bad(what: &str) -> String {
    format!("the call of XLA has {what}: this build of bpqp does not fit this version of jaxlib")
}

/// `n` items at `items`; the caller vouches for them where `n > 0`.
///
/// # Safety
/// Where `n > 0` and `items` is not null it points at `n` initialized items that live, unchanged by others, for `'a`.
unsafe fn list<'a, T>(items: *const T, n: i64, what: &str) -> Result<&'a [T], String> {
    let n = usize::try_from(n).map_err(|_| bad(what))?;
    if n == 0 {
        return Ok(&[]);
    }
    if items.is_null() || !items.is_aligned() {
        return Err(bad(what));
    }
    // SAFETY: not null, aligned, and the caller vouches for the n items
    Ok(unsafe { slice::from_raw_parts(items, n) })
}

/// The data of a buffer as a mutable slice of `T`.
///
/// # Safety
/// `data` points at `n` values of `T` that nobody else uses during `'a`, or is null with `n = 0`.
unsafe fn place<'a, T>(data: *mut c_void, n: usize) -> Result<&'a mut [T], String> {
    if n == 0 {
        return Ok(&mut []);
    }
    let data = data.cast::<T>();
    if data.is_null() || !data.is_aligned() {
        return Err(bad("a result that is not aligned"));
    }
    // SAFETY: not null, aligned, and the caller vouches for the n values
    Ok(unsafe { slice::from_raw_parts_mut(data, n) })
}

/// Shape and number of values of a buffer, of the size it says it has.
///
/// # Safety
/// `buffer` is null or points at a buffer of the runtime that lives for `'a`.
unsafe fn shape<'a>(buffer: *const RawBuffer) -> Result<(&'a RawBuffer, Vec<usize>, usize), String> {
    if buffer.is_null() || !buffer.is_aligned() {
        return Err(bad("no buffer"));
    }
    // SAFETY: every version of the struct begins with its size
    if unsafe { (*buffer).struct_size } < size_of::<RawBuffer>() {
        return Err(bad("a smaller buffer struct"));
    }
    // SAFETY: its size covers all fields
    let buffer = unsafe { &*buffer };
    // SAFETY: the runtime gives `rank` dimensions
    let dims = unsafe { list(buffer.dims, buffer.rank, "a shape that cannot be read") }?;
    let dims: Result<Vec<usize>, _> = dims.iter().map(|&d| usize::try_from(d)).collect();
    let dims = dims.map_err(|_| bad("a negative dimension"))?;
    let count = dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    let count = count.filter(|n| n.checked_mul(8).is_some_and(|bytes| isize::try_from(bytes).is_ok()));
    let count = count.ok_or_else(|| bad("an overflowing shape"))?;
    Ok((buffer, dims, count))
}

impl<'a> Call<'a> {
    /// # Safety
    /// `raw` is a call in the stage EXECUTE, whose size covers all fields of [`RawCall`], alive for `'a`.
    unsafe fn new(raw: &'a RawCall) -> Result<Self, String> {
        let sizes = [(&raw.arguments, "arguments"), (&raw.results, "results")];
        if sizes.iter().any(|(list, _)| list.struct_size < size_of::<RawBuffers>())
            || raw.attributes.struct_size < size_of::<RawAttributes>()
        {
            return Err(bad("smaller lists"));
        }
        for (buffers, what) in sizes {
            // SAFETY: the runtime gives `size` types
            if unsafe { list(buffers.types, buffers.size, what) }?.iter().any(|&kind| kind != BUFFER) {
                return Err(bad("arguments that are not buffers"));
            }
        }
        let mut arguments = Vec::new();
        // SAFETY: the runtime gives `size` pointers
        for &buffer in unsafe { list(raw.arguments.items, raw.arguments.size, "no arguments") }? {
            // SAFETY: each of them is null or a buffer that lives as long as the call
            let (buffer, dims, n) = unsafe { shape::<'a>(buffer) }?;
            let n = i64::try_from(n).map_err(|_| bad("an overflowing shape"))?;
            let what = "an argument that is not aligned";
            // SAFETY (all three): the buffer holds n values of its dtype, which nobody changes during the call
            let numbers = match buffer.dtype {
                F32 => Numbers::F32(unsafe { list(buffer.data.cast::<f32>(), n, what) }?),
                F64 => Numbers::F64(unsafe { list(buffer.data.cast::<f64>(), n, what) }?),
                U32 => Numbers::U32(unsafe { list(buffer.data.cast::<u32>(), n, what) }?),
                other => return Err(format!("an argument has the XLA type {other}: pass float32 or float64")),
            };
            arguments.push(Argument { numbers, dims });
        }
        let mut results = Vec::new();
        // SAFETY: as for the arguments
        for &buffer in unsafe { list(raw.results.items, raw.results.size, "no results") }? {
            // SAFETY: as for the arguments
            let (buffer, dims, n) = unsafe { shape::<'a>(buffer) }?;
            // SAFETY (all four): the buffer has room for n values of its dtype, and is this handler's alone. XLA
            // initializes no results; every bit pattern is a value of these types, and handlers only write
            let place = match buffer.dtype {
                F32 => Place::F32(unsafe { place::<f32>(buffer.data, n) }?),
                F64 => Place::F64(unsafe { place::<f64>(buffer.data, n) }?),
                U32 => Place::U32(unsafe { place::<u32>(buffer.data, n) }?),
                S32 => Place::S32(unsafe { place::<i32>(buffer.data, n) }?),
                other => return Err(format!("a result has the XLA type {other}")),
            };
            results.push(ResultPlace { place, dims });
        }
        // SAFETY: the runtime gives `size` types, names and attributes
        let attributes = unsafe { attributes(&raw.attributes) }?;
        Ok(Call { arguments, results, attributes })
    }
}

/// # Safety
/// `raw` describes attributes that live for `'a`.
unsafe fn attributes<'a>(raw: &'a RawAttributes) -> Result<Vec<(&'a str, Attribute<'a>)>, String> {
    let what = "attributes that cannot be read";
    // SAFETY: the runtime gives `size` of each
    let (types, names, items) = unsafe {
        (list(raw.types, raw.size, what)?, list(raw.names, raw.size, what)?, list(raw.items, raw.size, what)?)
    };
    let text = |span: *const ByteSpan| -> Result<&'a str, String> {
        if span.is_null() || !span.is_aligned() {
            return Err(bad(what));
        }
        // SAFETY: a span of the runtime, of `len` bytes
        let bytes = unsafe {
            let span = &*span;
            list(span.ptr, i64::try_from(span.len).map_err(|_| bad(what))?, what)?
        };
        std::str::from_utf8(bytes).map_err(|_| bad(what))
    };
    let mut out = Vec::with_capacity(types.len());
    for ((&kind, &name), &item) in types.iter().zip(names).zip(items) {
        let name = text(name)?;
        let value = match kind {
            STRING => Attribute::Text(text(item.cast())?),
            SCALAR => {
                let scalar = item.cast::<RawScalar>();
                if scalar.is_null() || !scalar.is_aligned() {
                    return Err(bad(what));
                }
                // SAFETY: an attribute of this kind is a scalar of the runtime
                let scalar = unsafe { &*scalar };
                if scalar.value.is_null() {
                    return Err(bad(what));
                }
                // SAFETY (both): the value is of its dtype; it may lie anywhere
                match scalar.dtype {
                    S64 => Attribute::Int(unsafe { scalar.value.cast::<i64>().read_unaligned() }),
                    F64 => Attribute::Float(unsafe { scalar.value.cast::<f64>().read_unaligned() }),
                    other => return Err(format!("the attribute {name} has the XLA type {other}")),
                }
            }
            other => return Err(format!("the attribute {name} is of the kind {other}")),
        };
        out.push((name, value));
    }
    Ok(out)
}

/// Runs `body` on a call, or answers the question of the runtime for the version of the handler.
///
/// # Safety
/// `raw` is null or a call frame of XLA's runtime, as `XLA_FFI_Handler` says.
unsafe fn enter(raw: *mut RawCall, body: Body) -> *mut XlaError {
    let head = offset_of!(RawCall, context);
    // SAFETY: every version of the struct begins with its size; the fields up to `api` are read only where it covers them
    let (size, extension, api) = unsafe {
        if raw.is_null() || !raw.is_aligned() || (*raw).struct_size < head {
            // without a table of functions there is no way to report anything
            std::process::abort();
        }
        ((*raw).struct_size, (*raw).extension, (*raw).api)
    };
    // SAFETY: null or an extension of the runtime
    if unsafe { describe(extension) } {
        return std::ptr::null_mut();
    }
    let refused = if size < size_of::<RawCall>() {
        Some(Refusal::Argument(bad("a smaller frame")))
    } else {
        // SAFETY: its size covers all fields, and the runtime keeps it alive during the call
        let raw = unsafe { &*raw };
        if raw.stage != EXECUTE {
            return std::ptr::null_mut();
        }
        let run = || {
            // SAFETY: stage and size were looked at
            let call = unsafe { Call::new(raw) }.map_err(Refusal::Argument)?;
            body(call)
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(result) => result.err(),
            Err(_) => Some(Refusal::Argument("bpqp panicked: this is a bug of bpqp".to_owned())),
        }
    };
    match refused {
        None => std::ptr::null_mut(),
        // SAFETY: null or the table of functions of the runtime
        Some(refusal) => unsafe { report(api, refusal) },
    }
}

/// True if the call asked for metadata; they are written then.
///
/// # Safety
/// `extension` is null or the first of a list of extensions of the runtime.
unsafe fn describe(mut extension: *mut Extension) -> bool {
    while !extension.is_null() {
        // SAFETY: an extension begins with its size and kind; the fields of this kind are used only where the sizes that
        // the runtime wrote cover them
        unsafe {
            if (*extension).kind == METADATA {
                let covered = (*extension).struct_size >= size_of::<Extension>();
                let metadata = (*extension.cast::<MetadataExtension>()).metadata;
                // a runtime that has another layout finds the version it wrote itself, 0.0 or its own, and refuses or
                // agrees on that
                let written = offset_of!(Metadata, traits) + size_of::<u32>();
                if covered && !metadata.is_null() && (*metadata).struct_size >= written {
                    (*metadata).version = Version {
                        struct_size: offset_of!(Version, minor) + size_of::<c_int>(),
                        extension: std::ptr::null_mut(),
                        major: VERSION.0,
                        minor: VERSION.1,
                    };
                    (*metadata).traits = 0;
                }
                return true;
            }
            extension = (*extension).next;
        }
    }
    false
}

/// # Safety
/// `api` is null or the table of functions of the runtime.
unsafe fn report(api: *const Api, refusal: Refusal) -> *mut XlaError {
    let (code, message) = refusal.parts();
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the table begins with its size, and is read only where that covers it; the function copies the message
    unsafe {
        let known = !api.is_null() && (*api).struct_size >= size_of::<Api>() && (*api).version.major == VERSION.0;
        if let Some(create) = if known { (*api).error_create } else { None } {
            let mut args = ErrorArgs {
                struct_size: offset_of!(ErrorArgs, code) + size_of::<c_int>(),
                extension: std::ptr::null_mut(),
                message: message.as_ptr(),
                code,
            };
            return create(&raw mut args);
        }
    }
    // an error that cannot be reported must not look like success
    std::process::abort()
}

/// The function that XLA calls.
///
/// # Safety
/// The argument is a call frame of XLA's runtime.
unsafe extern "C" fn handler<O: Operation>(call: *mut RawCall) -> *mut XlaError {
    // SAFETY: the runtime calls this function as an `XLA_FFI_Handler`
    unsafe { enter(call, O::run) }
}

/// The handler of an operation as JAX registers it.
pub fn capsule<O: Operation>(py: Python<'_>) -> PyResult<Bound<'_, PyCapsule>> {
    const NAME: &CStr = c"xla._CUSTOM_CALL_TARGET";
    let function: unsafe extern "C" fn(*mut RawCall) -> *mut XlaError = handler::<O>;
    let pointer = NonNull::new(function as *mut c_void);
    let pointer = pointer.ok_or_else(|| PyRuntimeError::new_err("a handler without address"))?;
    // SAFETY: a function is valid for as long as the module is loaded, which Python never unloads
    unsafe { PyCapsule::new_with_pointer(py, pointer, NAME) }
}
