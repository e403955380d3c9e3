//! A hierarchy of keys like AMD's, and reports signed with it: what genuine ones do not have can be tried.

use der::oid::ObjectIdentifier;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PSS_SHA384, RsaKeyPair,
};

use crate::certificate::Certificate;
use crate::product::Product;
use crate::roots::{Anchor, Roots};
use crate::tcb::Component;

const ARK: &[u8] = include_bytes!("../../../tests/data/fake-ark.pk8");
const ASK: &[u8] = include_bytes!("../../../tests/data/fake-ask.pk8");

/// RSASSA-PSS with SHA-384, as AMD writes it now.
const PSS: &str = "1.2.840.113549.1.1.10";

/// A DER element.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut element = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..=0x7f) => element.push(short),
        Ok(long) => element.extend([0x81, long]),
        Err(_) => {
            element.push(0x82);
            element.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    element.extend(content);
    element
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

pub(crate) fn oid(text: &str) -> Vec<u8> {
    tlv(0x06, &[ObjectIdentifier::new(text).unwrap().as_bytes()])
}

/// An INTEGER.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if bytes.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    tlv(0x02, &[sign, bytes])
}

/// A UTCTime such as `260101000000Z`.
fn utc(text: &str) -> Vec<u8> {
    tlv(0x17, &[text.as_bytes()])
}

fn name(common: &str) -> Vec<u8> {
    let part = |id: &str, text: &str| tlv(0x31, &[&sequence(&[&oid(id), &tlv(0x0c, &[text.as_bytes()])])]);
    sequence(&[&part("2.5.4.10", "Advanced Micro Devices"), &part("2.5.4.3", common)])
}

fn pss(trailer: bool) -> Vec<u8> {
    let sha384 = sequence(&[&oid("2.16.840.1.101.3.4.2.2"), &[5, 0]]);
    let mgf1 = sequence(&[&oid("1.2.840.113549.1.1.8"), &sha384]);
    let trailer = if trailer { tlv(0xa3, &[&integer(&[1])]) } else { Vec::new() };
    let salt = tlv(0xa2, &[&integer(&[48])]);
    sequence(&[&oid(PSS), &sequence(&[&tlv(0xa0, &[&sha384]), &tlv(0xa1, &[&mgf1]), &salt, &trailer])])
}

/// An extension of a certificate or list.
pub(crate) fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    sequence(&[&oid(id), critical, &tlv(0x04, &[value])])
}

/// Signs what a certificate or list says.
fn sign(key: &RsaKeyPair, said: &[u8], trailer: bool) -> Vec<u8> {
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PSS_SHA384, &SystemRandom::new(), said, &mut signature).unwrap();
    sequence(&[said, &pss(trailer), &tlv(0x03, &[&[0], &signature])])
}

/// What a certificate says.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) trailer: bool,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Said {
    fn der(&self, public: &[u8], signer: &RsaKeyPair) -> Vec<u8> {
        let said = sequence(&[
            &tlv(0xa0, &[&integer(&[2])]),
            &integer(&self.serial),
            &pss(self.trailer),
            &name(&self.issuer),
            &sequence(&[&utc(self.from), &utc(self.to)]),
            &name(&self.subject),
            public,
            &tlv(0xa3, &[&sequence(&[&self.extensions.concat()])]),
        ]);
        sign(signer, &said, self.trailer)
    }
}

/// The extensions of an authority.
pub(crate) fn authority() -> Vec<Vec<u8>> {
    vec![
        extension("2.5.29.15", true, &tlv(0x03, &[&[1, 0x06]])),
        extension("2.5.29.19", true, &sequence(&[&[0x01, 0x01, 0xff]])),
    ]
}

fn rsa_public(key: &RsaKeyPair) -> Vec<u8> {
    let algorithm = sequence(&[&oid("1.2.840.113549.1.1.1"), &[5, 0]]);
    sequence(&[&algorithm, &tlv(0x03, &[&[0], key.public_key().as_ref()])])
}

/// The key that reports are signed with, and what a certificate is to say of it.
pub(crate) struct Hierarchy {
    ark: RsaKeyPair,
    ask: RsaKeyPair,
    key: EcdsaKeyPair,
}

impl Hierarchy {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            ark: RsaKeyPair::from_pkcs8(ARK).unwrap(),
            ask: RsaKeyPair::from_pkcs8(ASK).unwrap(),
            key: EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap(),
        }
    }

    /// Its roots, named as AMD's are; the intermediates for VLEKs are not pinned.
    pub(crate) fn roots(&self) -> Roots {
        Roots::of(Product::ALL.map(|product| self.anchor(product)).to_vec())
    }

    fn anchor(&self, product: Product) -> Anchor {
        let root = self.root(product, |_| {});
        let intermediate = self.intermediate(product, "SEV-", |_| {});
        Anchor { product, root, intermediates: vec![intermediate] }
    }

    pub(crate) fn root(&self, product: Product, edit: impl FnOnce(&mut Said)) -> Certificate {
        let mut said = Said {
            serial: vec![1, 0, 0],
            issuer: format!("ARK-{product}"),
            subject: format!("ARK-{product}"),
            from: "200101000000Z",
            to: "450101000000Z",
            trailer: true,
            extensions: authority(),
        };
        edit(&mut said);
        Certificate::parse(&said.der(&rsa_public(&self.ark), &self.ark)).unwrap()
    }

    /// The ASK or ASVK of a product, by the beginning of its name.
    pub(crate) fn intermediate(
        &self,
        product: Product,
        kind: &str,
        edit: impl FnOnce(&mut Said),
    ) -> Certificate {
        let mut said = Said {
            serial: vec![1, 0, 1],
            issuer: format!("ARK-{product}"),
            subject: format!("{kind}{product}"),
            from: "200101000000Z",
            to: "450101000000Z",
            trailer: true,
            extensions: authority(),
        };
        edit(&mut said);
        Certificate::parse(&said.der(&rsa_public(&self.ask), &self.ark)).unwrap()
    }

    /// A certificate of the signing key.
    pub(crate) fn endorsed(&self, said: &Said) -> Certificate {
        let algorithm = sequence(&[&oid("1.2.840.10045.2.1"), &oid("1.3.132.0.34")]);
        let public = sequence(&[&algorithm, &tlv(0x03, &[&[0], self.key.public_key().as_ref()])]);
        Certificate::parse(&said.der(&public, &self.ask)).unwrap()
    }

    /// Signs a report's bytes.
    pub(crate) fn sign(&self, report: &mut [u8]) {
        let signature = self.key.sign(&SystemRandom::new(), &report[..0x2a0]).unwrap();
        for (number, place) in signature.as_ref().chunks_exact(48).zip([0x2a0, 0x2e8]) {
            let little_endian: Vec<u8> = number.iter().rev().copied().collect();
            report[place..place + 48].copy_from_slice(&little_endian);
        }
    }

    /// A list of revoked certificates, signed by a root or, with the wrong key, by its intermediate.
    pub(crate) fn crl(&self, list: &List) -> Vec<u8> {
        let revoked: Vec<u8> = list
            .serials
            .iter()
            .flat_map(|serial| sequence(&[&integer(serial), &utc("250101000000Z"), &list.entry_extensions]))
            .collect();
        let revoked = if revoked.is_empty() { Vec::new() } else { sequence(&[&revoked]) };
        let extensions = if list.extensions.is_empty() {
            Vec::new()
        } else {
            tlv(0xa0, &[&sequence(&[&list.extensions])])
        };
        let said = sequence(&[
            if list.old_form { &[] } else { &[2, 1, 1] },
            &pss(false),
            &name(&list.issuer),
            &utc(list.from),
            &utc(list.to),
            &revoked,
            &extensions,
        ]);
        sign(if list.forged { &self.ask } else { &self.ark }, &said, false)
    }
}

/// What a list of revoked certificates says.
pub(crate) struct List {
    pub(crate) issuer: String,
    pub(crate) serials: Vec<Vec<u8>>,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) forged: bool,
    /// Version 1, which is not written and has no extensions.
    pub(crate) old_form: bool,
    pub(crate) entry_extensions: Vec<u8>,
    pub(crate) extensions: Vec<u8>,
}

impl List {
    /// A list that holds now and revokes something else.
    pub(crate) fn of(product: Product) -> Self {
        Self {
            issuer: format!("ARK-{product}"),
            serials: vec![vec![9, 9, 9], vec![0x80]],
            from: "260101000000Z",
            to: "270101000000Z",
            forged: false,
            old_form: false,
            entry_extensions: Vec::new(),
            extensions: extension("2.5.29.20", false, &integer(&[7])),
        }
    }
}

/// What a certificate says of a key with a TCB version: AMD's extensions.
pub(crate) fn endorsements(product: Product, product_name: &str, tcb: [u8; 8]) -> Vec<Vec<u8>> {
    let ids = |component| match component {
        Component::Bootloader => 1,
        Component::Tee => 2,
        Component::Snp => 3,
        Component::Microcode => 8,
        Component::Fmc => 9,
        Component::Reserved(place) if product == Product::Turin => u32::from(place) + 1,
        Component::Reserved(place) => u32::from(place) + 2,
    };
    let mut extensions = vec![
        extension("1.3.6.1.4.1.3704.1.1", false, &integer(&[1])),
        extension("1.3.6.1.4.1.3704.1.2", false, &tlv(0x16, &[product_name.as_bytes()])),
    ];
    for (component, number) in Component::places(product).into_iter().zip(tcb) {
        let id = format!("1.3.6.1.4.1.3704.1.3.{}", ids(component));
        extensions.push(extension(&id, false, &integer(&[number])));
    }
    extensions
}
