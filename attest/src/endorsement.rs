//! What AMD says of a signing key, in extensions of its certificate (AMD 57230, "VCEK Certificate Extensions"): the product,
//! the TCB version, the chip of a VCEK, the cloud provider of a VLEK.

use der::asn1::{AnyRef, UintRef};
use der::oid::ObjectIdentifier;
use der::{Decode as _, Tag, Tagged as _};

use crate::certificate::Certificate;
use crate::product::Product;
use crate::tcb::{Component, Tcb};

const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const HWID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
/// The numbers of a TCB version stand below this.
const NUMBERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3");
const CSP_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");

/// Why a certificate says nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndorsementError {
    /// An extension is missing or has another form.
    #[error("the certificate says no {0} that can be read")]
    Unreadable(&'static str),
    /// A product that is not known.
    #[error("the certificate is for a {0:?}, which is not known")]
    Product(String),
}

/// The extension with the security version number of a component.
fn number_of(component: Component, product: Product) -> Option<ObjectIdentifier> {
    let arc = match (component, product) {
        (Component::Bootloader, _) => 1,
        (Component::Tee, _) => 2,
        (Component::Snp, _) => 3,
        (Component::Microcode, _) => 8,
        (Component::Fmc, _) => 9,
        // spl_4 to spl_7: four bytes from the second on, or on Turin the last three of them from the fourth on.
        (Component::Reserved(place), Product::Milan | Product::Genoa) => u32::from(place) + 2,
        (Component::Reserved(place), Product::Turin) => u32::from(place) + 1,
    };
    NUMBERS.push_arc(arc).ok()
}

/// The product that a certificate is for.
///
/// # Errors
/// None is named, or one that is not known.
pub fn product(certificate: &Certificate) -> Result<Product, EndorsementError> {
    let name = text(certificate, PRODUCT_NAME).ok_or(EndorsementError::Unreadable("product"))?;
    Product::of_name(&name).ok_or(EndorsementError::Product(name))
}

/// The product's name as it stands there, with its stepping.
#[must_use]
pub fn product_name(certificate: &Certificate) -> Option<String> {
    text(certificate, PRODUCT_NAME)
}

/// The cloud provider that a VLEK was made for.
#[must_use]
pub fn csp_id(certificate: &Certificate) -> Option<String> {
    text(certificate, CSP_ID)
}

/// The TCB version that the key was derived with. Bytes without a meaning count where the certificate names them.
///
/// # Errors
/// A component is not named.
pub fn tcb(certificate: &Certificate, product: Product) -> Result<Tcb, EndorsementError> {
    let mut bytes = [0; 8];
    for (byte, component) in bytes.iter_mut().zip(Component::places(product)) {
        let value = number_of(component, product).and_then(|id| certificate.extension(id));
        *byte = match (value, component) {
            (Some(value), _) => svn(value).ok_or(EndorsementError::Unreadable(component.name()))?,
            (None, Component::Reserved(_)) => 0,
            (None, _) => return Err(EndorsementError::Unreadable(component.name())),
        };
    }
    Ok(Tcb::new(product, bytes))
}

/// The chip whose key it is: as such, or as an OCTET STRING.
///
/// # Errors
/// None of the product's length.
pub fn hwid(certificate: &Certificate, product: Product) -> Result<Vec<u8>, EndorsementError> {
    let wanted = product.hwid_length();
    let value = certificate.extension(HWID).ok_or(EndorsementError::Unreadable("chip"))?;
    if value.len() == wanted {
        return Ok(value.to_vec());
    }
    match AnyRef::from_der(value) {
        Ok(inner) if inner.tag() == Tag::OctetString && inner.value().len() == wanted => {
            Ok(inner.value().to_vec())
        }
        _ => Err(EndorsementError::Unreadable("chip")),
    }
}

/// A security version number: an INTEGER of one byte.
fn svn(value: &[u8]) -> Option<u8> {
    match UintRef::from_der(value).ok()?.as_bytes() {
        [number] => Some(*number),
        [] => Some(0),
        _ => None,
    }
}

/// An IA5String or UTF8String.
fn text(certificate: &Certificate, id: ObjectIdentifier) -> Option<String> {
    let value = AnyRef::from_der(certificate.extension(id)?).ok()?;
    match value.tag() {
        Tag::Ia5String | Tag::Utf8String | Tag::PrintableString => {
            std::str::from_utf8(value.value()).ok().map(str::to_owned)
        }
        _ => None,
    }
}
