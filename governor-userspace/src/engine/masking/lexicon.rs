//! What column names mean, in English, German, French and Spanish: data only.
//!
//! A phrase is one or more words in the order in which they stand in the name; see `classify.rs` for
//! how a name is cut into words (accents are folded: `teléfono` is `telefono`, `straße` is `strasse`).
//! The longest phrase in a name wins, so a harmless long phrase overrules a sensitive short one.

use super::category::Category::{self, *};

/// Where a phrase counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Anywhere in the name: `customer_email`, `email_home`.
    Anywhere,
    /// Only as the whole name: too short or too common a word otherwise.
    Whole,
    /// Only as the whole name, in a relation that holds people.
    OfPeople,
}
use Place::*;

/// (category or `None` for harmless, place, phrases). Words in a phrase are separated by one space.
pub(super) const PHRASES: &[(Option<Category>, Place, &[&str])] = &[
    (Some(Email), Anywhere, &[
        "email", "emails", "e mail", "mail address", "mailaddress", "emailaddress", "email address", "ip email",
        "courriel", "correo", "correo electronico", "adresse email", "adresse mail", "mailadresse",
        "emailadresse", "direccion correo",
    ]),
    (Some(Email), Whole, &["mail"]),
    (Some(Phone), Anywhere, &[
        "phone", "phones", "phone number", "phonenumber", "phone no", "telephone", "telephone number", "tel",
        "telno", "mobile", "mobile phone", "mobile number", "mobilephone", "cellphone", "cell phone",
        "cell number", "fax", "fax number", "msisdn", "whatsapp", "telefon", "telefonnummer", "telefonnr",
        "handy", "handynummer", "mobil", "mobilnummer", "rufnummer", "numero telephone", "portable",
        "telefono", "numero telefono", "movil", "celular", "numero movil",
    ]),
    (Some(Phone), Whole, &["cell"]),
    (Some(PaymentCard), Anywhere, &[
        "card number", "cardnumber", "card no", "card num", "cardno", "cc number", "cc num", "cc no", "ccnum",
        "ccnumber", "credit card", "creditcard", "credit card number", "creditcardnumber", "debit card",
        "debitcard", "payment card", "primary account number", "cvv", "cvv2", "cvc", "cvc2", "card code",
        "kreditkarte", "kreditkartennummer", "kartennummer", "carte bancaire", "carte credit", "numero carte",
        "numero de carte", "tarjeta", "tarjeta credito", "numero tarjeta", "numero de tarjeta",
    ]),
    (Some(Iban), Anywhere, &["iban", "iban number"]),
    (Some(NationalId), Anywhere, &[
        "ssn", "ssn4", "social security", "social security number", "socialsecuritynumber", "nino",
        "national insurance", "national insurance number", "national id", "nationalid", "national identity",
        "national number", "identity number", "identity card", "id card", "tax id", "taxid", "tax number",
        "taxpayer id", "itin", "steuer id", "steuerid", "steuernummer", "steueridentifikationsnummer",
        "idnr", "sozialversicherungsnummer", "svnr", "sv nummer", "ausweisnummer", "personalausweis",
        "personalausweisnummer", "dni", "nif", "numero secu", "numero securite sociale", "securite sociale",
        "secu", "insee", "numero fiscal", "seguridad social", "numero seguridad social", "documento identidad",
        "cedula", "cpf", "curp", "pesel", "bsn", "burgerservicenummer", "aadhaar", "aadhar", "pan number",
        "pan card", "codice fiscale", "codicefiscale", "personnummer", "fodselsnummer", "hetu", "nric",
        "hkid", "medicare number", "social insurance number", "ahv", "ahv nummer",
    ]),
    (Some(NationalId), Whole, &["sin", "tin", "nie", "nir", "nss", "pan", "cpr", "sv nr"]),
    (None, Anywhere, &["code insee", "insee code"]),
    (Some(PersonName), Anywhere, &[
        "full name", "fullname", "first name", "firstname", "last name", "lastname", "middle name",
        "middlename", "maiden name", "given name", "givenname", "family name", "familyname", "surname",
        "forename", "legal name", "real name", "person name", "customer name", "customername", "client name",
        "patient name", "employee name", "contact name", "holder name", "card holder", "cardholder",
        "account holder", "accountholder", "beneficiary name", "guest name", "passenger name", "driver name",
        "owner name", "member name", "student name", "mother name", "father name", "spouse name",
        "recipient name", "sender name", "billing name", "shipping name", "emergency contact", "vorname",
        "nachname", "familienname", "geburtsname", "vollstaendiger name", "kundenname", "karteninhaber",
        "kontoinhaber", "ansprechpartner", "prenom", "nom famille", "nom de famille", "nom complet",
        "nom client", "nom naissance", "nom jeune fille", "titulaire", "nombre completo", "nombre cliente",
        "nombre pila", "apellido", "apellidos", "primer apellido", "segundo apellido", "titular",
    ]),
    (Some(PersonName), Whole, &["fname", "lname", "mname"]),
    (Some(PersonName), OfPeople, &["name", "names", "display name", "displayname", "nom", "nombre", "title name"]),
    (Some(Address), Anywhere, &[
        "address", "addresses", "addr", "street", "street address", "home address", "postal address",
        "billing address", "shipping address", "delivery address", "mailing address", "address line",
        "street name", "house number", "anschrift", "adresse", "wohnort", "wohnadresse", "strasse",
        "hausnummer", "lieferadresse", "rechnungsadresse", "rue", "adresse postale", "domicile", "direccion",
        "domicilio", "calle", "coordinates", "geolocation", "gps", "birth place", "birthplace",
        "place of birth", "geburtsort", "lieu naissance", "lieu de naissance", "lugar nacimiento",
        "lugar de nacimiento",
    ]),
    (Some(Address), OfPeople, &[
        "zip", "zip code", "zipcode", "postcode", "postal code", "postalcode", "plz", "postleitzahl",
        "code postal", "codigo postal", "latitude", "longitude", "lat", "lng", "lon", "location",
    ]),
    (None, Anywhere, &[
        "address space", "memory address", "contract address", "web address", "http address", "street art",
        "addressable", "rue type",
    ]),
    (Some(BirthDate), Anywhere, &[
        "dob", "birth", "birth date", "birthdate", "birthday", "birth day", "birth year", "birth month",
        "date of birth", "dateofbirth", "date birth", "born", "geburtsdatum", "geburtstag", "geburtsjahr",
        "date naissance", "date de naissance", "datenaissance", "naissance", "fecha nacimiento",
        "fecha de nacimiento", "nacimiento", "cumpleanos",
    ]),
    (Some(Passport), Anywhere, &[
        "passport", "passport no", "passport number", "passportnumber", "passportno", "reisepass",
        "reisepassnummer", "passeport", "numero passeport", "pasaporte", "numero pasaporte", "driver license",
        "drivers license", "driver licence", "drivers licence", "driving license", "driving licence",
        "driverslicense", "fuehrerschein", "fuehrerscheinnummer", "permis conduire", "permis de conduire",
        "carnet conducir", "license plate", "licence plate", "number plate",
    ]),
    (Some(Credential), Anywhere, &[
        "password", "passwords", "passwd", "pwd", "password hash", "passwordhash", "passphrase", "pass phrase",
        "secret", "secrets", "client secret", "api key", "apikey", "api keys", "api token", "apitoken",
        "access key", "accesskey", "secret key", "secretkey", "private key", "privatekey", "signing key",
        "encryption key", "ssh key", "auth token", "authtoken", "access token", "accesstoken",
        "refresh token", "refreshtoken", "session token", "sessiontoken", "bearer token", "reset token",
        "id token", "csrf token", "webhook token", "totp", "otp", "mfa secret", "recovery code",
        "recovery codes", "security answer", "credential", "credentials", "jwt", "connection string", "passwort",
        "passwort hash", "kennwort", "geheimnis", "zugangstoken", "mot de passe", "mot passe", "motdepasse",
        "mdp", "jeton", "cle api", "cle privee", "contrasena", "contrasenia", "clave api", "clave privada",
        "secreto", "token", "pin code", "pincode",
    ]),
    (Some(Credential), Whole, &["pass", "pin", "salt", "clave", "keys secret", "rolpassword"]),
    (None, Anywhere, &["public key", "secret santa", "token type", "secret version"]),
    (Some(IpAddress), Anywhere, &[
        "ip", "ip address", "ipaddress", "ip addr", "ipaddr", "ipv4", "ipv6", "client ip", "remote ip",
        "remote addr", "remote address", "client addr", "client address", "source ip", "last ip", "mac address",
        "macaddress", "mac addr", "macaddr", "ip adresse", "adresse ip", "direccion ip", "direccion mac",
        "adresse mac", "mac adresse",
    ]),
    (Some(IpAddress), Whole, &["mac"]),
    (Some(Health), Anywhere, &[
        "diagnosis", "diagnoses", "diagnose", "medical record", "medical record number", "mrn",
        "medical history", "medical condition", "health condition", "medication", "medications", "prescription",
        "allergy", "allergies", "blood type", "blood group", "icd", "icd9", "icd10", "icd code", "hiv",
        "hiv status", "disability", "symptoms", "pregnant", "diabetic", "health insurance",
        "health insurance number", "krankheit", "krankenversicherung", "krankenversicherungsnummer",
        "versichertennummer", "blutgruppe", "maladie", "groupe sanguin", "enfermedad", "diagnostico",
        "grupo sanguineo", "alergias",
    ]),
    (Some(Financial), Anywhere, &[
        "salary", "salaries", "wage", "wages", "income", "annual income", "net pay", "gross pay", "base pay",
        "compensation", "credit score", "account balance", "bank account", "bankaccount", "account number",
        "accountnumber", "account no", "acct no", "acct number", "acctno", "routing number", "sort code",
        "sortcode", "bic", "swift code", "net worth", "gehalt", "lohn", "einkommen", "kontonummer", "kontostand",
        "bankverbindung", "salaire", "revenu", "numero compte", "numero de compte", "rib", "salario", "sueldo",
        "ingresos", "numero cuenta", "numero de cuenta", "cuenta bancaria", "wallet address", "credit limit",
    ]),
    (Some(Financial), Whole, &["swift"]),
    (Some(Financial), OfPeople, &["balance", "pay", "bonus"]),
    (None, Anywhere, &["wage type", "salary band id", "income statement"]),
    (Some(Other), Anywhere, &[
        "religion", "ethnicity", "sexual orientation", "political affiliation", "political opinion",
        "trade union", "criminal record", "biometric", "fingerprint template", "konfession", "etnia",
    ]),
];

/// Last words of relations whose rows are people.
pub(super) const PEOPLE: &[&str] = &[
    "person", "persons", "people", "user", "users", "customer", "customers", "client", "clients", "employee",
    "employees", "staff", "worker", "workers", "patient", "patients", "contact", "contacts", "member", "members",
    "student", "students", "teacher", "teachers", "driver", "drivers", "passenger", "passengers", "guest",
    "guests", "subscriber", "subscribers", "applicant", "applicants", "candidate", "candidates", "lead", "leads",
    "profile", "profiles", "doctor", "doctors", "physician", "physicians", "nurse", "nurses", "beneficiary",
    "beneficiaries", "owner", "owners", "donor", "donors", "citizen", "citizens", "resident", "residents",
    "buyer", "buyers", "seller", "sellers", "participant", "participants", "individual", "individuals",
    "author", "authors", "agent", "agents", "kunde", "kunden", "mitarbeiter", "patienten", "personen", "benutzer",
    "nutzer", "schueler", "mitglied", "mitglieder", "kontakte", "personne", "personnes", "utilisateur",
    "utilisateurs", "salarie", "salaries", "employe", "employes", "adherent", "adherents", "eleve", "eleves",
    "persona", "personas", "cliente", "clientes", "empleado", "empleados", "paciente", "pacientes", "usuario",
    "usuarios", "contacto", "contactos", "alumno", "alumnos", "miembro", "miembros",
];

/// Words after a relation's real name: copies, versions and stages of it.
pub(super) const COPY_MARKS: &[&str] = &[
    "archive", "archived", "backup", "bak", "old", "new", "tmp", "temp", "copy", "history", "view", "test", "staging",
    "stage", "raw", "all", "list", "table", "tbl", "data", "v", "mv", "export", "import", "partition", "p",
];

/// Words that turn a sensitive name into a fact *about* such a value: `email_verified`, `phone_type`.
pub(super) const ABOUT: &[&str] = &[
    "verified", "confirmed", "valid", "validated", "validation", "count", "counts", "cnt", "type", "types", "kind",
    "status", "enabled", "disabled", "flag", "optin", "opt", "optout", "consent", "template", "templates",
    "subject", "format", "provider", "policy", "expires", "expiry", "expiration", "expired", "expire", "at",
    "attempts", "attempt", "length", "len", "limit", "max", "min", "rate", "interval", "ttl", "version", "algorithm",
    "algo", "required", "changed", "updated", "created", "sent", "bounced", "preferred", "preference",
    "preferences", "source", "label", "category", "class", "score", "index", "position", "avg", "average", "num",
    "total", "os", "app", "device", "platform", "browser", "carrier", "brand", "network", "notifications",
    "notification", "verification", "reminder", "campaign", "usage", "quota", "duration", "seconds", "minutes",
    "verifiziert", "anzahl", "typ", "verifie", "tipo", "verificado", "table", "schema",
];

/// First words that make a name a yes-or-no question or a number of things.
pub(super) const QUESTIONS: &[&str] =
    &["is", "has", "can", "should", "was", "num", "count", "n", "total", "max", "min", "avg", "allow", "enable"];
