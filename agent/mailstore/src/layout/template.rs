//! Path templates: literal text and `{variables}`.

use std::fmt;

/// Most components of a template. Real layouts have two to five.
pub const COMPONENTS_MAX: usize = 16;

/// Longest file name of common file systems.
const NAME_BYTES_MAX: usize = 255;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is nothing.
    #[error("is empty; write components such as {{domain}}/{{user}}")]
    Empty,
    /// It begins with a slash.
    #[error("begins with a slash; it is relative to the root of the volume")]
    Absolute,
    /// A component is empty, `.` or `..`.
    #[error("has the component `{0}`, which names no directory")]
    Component(String),
    /// There are more than [`COMPONENTS_MAX`] components.
    #[error("has {0} components; at most {COMPONENTS_MAX} are allowed")]
    TooDeep(usize),
    /// A component is longer than a file name can be.
    #[error("has a component of {0} bytes; file names have at most {NAME_BYTES_MAX}")]
    TooLong(usize),
    /// A percent sign, as in Dovecot's own settings.
    #[error("has a percent sign; write {{user}} for %n, {{domain}} for %d")]
    Percent,
    /// A control character.
    #[error("has a control character")]
    Control,
    /// A brace without its partner.
    #[error("has a brace without its partner in `{0}`")]
    Brace(String),
    /// A variable's name is not made of `a-z 0-9 _`, beginning with a letter.
    #[error("has the variable `{0}`; names use a-z, 0-9 and _ and begin with a letter")]
    Variable(String),
    /// A variable stands twice.
    #[error("has the variable `{0}` twice")]
    Twice(String),
    /// Two variables with nothing between them.
    #[error("has two variables side by side in `{0}`; put a literal character between them")]
    SideBySide(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Variable(String),
}

/// One component: matches one file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    parts: Vec<Part>,
}

/// A path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    components: Vec<Component>,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.starts_with('/') {
            return Err(TemplateError::Absolute);
        }
        if text.contains('%') {
            return Err(TemplateError::Percent);
        }
        if text.contains(char::is_control) {
            return Err(TemplateError::Control);
        }
        let components = text.split('/').map(Component::parse).collect::<Result<Vec<_>, _>>()?;
        if components.len() > COMPONENTS_MAX {
            return Err(TemplateError::TooDeep(components.len()));
        }
        let template = Self { components };
        let mut seen: Vec<&str> = Vec::new();
        for name in template.variables() {
            if seen.contains(&name) {
                return Err(TemplateError::Twice(name.to_owned()));
            }
            seen.push(name);
        }
        Ok(template)
    }

    /// One component that matches this name alone; its bytes have no meaning beyond themselves.
    pub(crate) fn literal(name: &[u8]) -> Result<Self, TemplateError> {
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(TemplateError::Component(String::from_utf8_lossy(name).into_owned()));
        }
        Ok(Self { components: vec![Component::named(name)] })
    }

    pub(crate) fn components(&self) -> &[Component] {
        &self.components
    }

    /// The path that its first components are, as far as they have no variable; and what is left.
    pub(crate) fn split_literal(&self) -> (Vec<u8>, Option<Self>) {
        let literal: Vec<_> = self.components.iter().map_while(Component::literal).collect();
        let left = &self.components[literal.len()..];
        (literal.join(&b'/'), (!left.is_empty()).then(|| Self { components: left.to_vec() }))
    }

    pub(crate) fn begins_with(&self, prefix: &Self) -> bool {
        self.components.starts_with(&prefix.components)
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.components.iter().flat_map(|c| &c.parts).filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The path that these values make of the template; `None` when one is missing, or a component would name no directory.
    pub(crate) fn filled(&self, values: &[(&str, &[u8])]) -> Option<Vec<u8>> {
        let components = self.components.iter().map(|component| component.filled(values));
        Some(components.collect::<Option<Vec<_>>>()?.join(&b'/'))
    }

    /// The values of all variables; `None` when the names do not match, or are too many or too few.
    pub(crate) fn values<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> Option<Vec<(&str, &'n [u8])>> {
        let mut values = Vec::new();
        let mut components = self.components.iter();
        for name in names {
            components.next()?.match_into(name, &mut values)?;
        }
        components.next().is_none().then_some(values)
    }
}

impl Component {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        if matches!(text, "" | "." | "..") {
            return Err(TemplateError::Component(text.to_owned()));
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(TemplateError::TooLong(text.len()));
        }
        let brace = || TemplateError::Brace(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('{') {
                let (name, after) = inner.split_once('}').ok_or_else(brace)?;
                if matches!(parts.last(), Some(Part::Variable(_))) {
                    return Err(TemplateError::SideBySide(text.to_owned()));
                }
                parts.push(Part::Variable(variable(name)?));
                rest = after;
            } else {
                let end = rest.find(['{', '}']).unwrap_or(rest.len());
                if end == 0 {
                    return Err(brace());
                }
                parts.push(Part::Literal(rest.as_bytes()[..end].to_vec()));
                rest = &rest[end..];
            }
        }
        Ok(Self { parts })
    }

    fn filled(&self, values: &[(&str, &[u8])]) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => name.extend_from_slice(text),
                Part::Variable(variable) => {
                    name.extend_from_slice(values.iter().find(|(n, _)| n == variable)?.1);
                }
            }
        }
        (!matches!(&name[..], b"" | b"." | b"..")).then_some(name)
    }

    /// The text, when the component has no variable.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match &self.parts[..] {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        self.match_into(name, &mut Vec::new()).is_some()
    }

    /// Matches a name and appends the values. A variable takes at least one byte and as few as it can; the last one takes the rest.
    pub(crate) fn match_into<'s, 'n>(
        &'s self,
        name: &'n [u8],
        values: &mut Vec<(&'s str, &'n [u8])>,
    ) -> Option<()> {
        let hidden = name.first() == Some(&b'.') || name == b"lost+found";
        if hidden && matches!(self.parts.first(), Some(Part::Variable(_))) {
            return None;
        }
        let mut rest = name;
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(text) => rest = rest.strip_prefix(&text[..])?,
                Part::Variable(variable) => {
                    let len = match self.parts.get(at + 1) {
                        None => rest.len(),
                        Some(Part::Literal(text)) if at + 2 == self.parts.len() => {
                            rest.strip_suffix(&text[..])?.len()
                        }
                        Some(Part::Literal(text)) => 1 + memchr::memmem::find(rest.get(1..)?, text)?,
                        Some(Part::Variable(_)) => return None,
                    };
                    if len == 0 {
                        return None;
                    }
                    values.push((variable, &rest[..len]));
                    rest = &rest[len..];
                }
            }
        }
        rest.is_empty().then_some(())
    }

    /// A component that this name alone matches.
    pub(crate) fn named(name: &[u8]) -> Self {
        Self { parts: vec![Part::Literal(name.to_vec())] }
    }

    /// Whether it plainly matches every name that another one matches: that is one name, this is nothing but a variable, or they differ
    /// in the names of variables alone.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (&self.parts[..], &other.parts[..]) {
            (_, [Part::Literal(name)]) => self.matches(name),
            ([Part::Variable(_)], [first, ..]) => {
                !matches!(first, Part::Literal(text) if text.starts_with(b"."))
            }
            (own, others) => {
                own.len() == others.len() && own.iter().zip(others).all(|(own, other)| own.is_like(other))
            }
        }
    }
}

impl Part {
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(one), Self::Literal(two)) => one == two,
            (Self::Variable(_), Self::Variable(_)) => true,
            (Self::Literal(_), Self::Variable(_)) | (Self::Variable(_), Self::Literal(_)) => false,
        }
    }
}

fn variable(name: &str) -> Result<String, TemplateError> {
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if good { Ok(name.to_owned()) } else { Err(TemplateError::Variable(name.to_owned())) }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, component) in self.components.iter().enumerate() {
            f.write_str(if at > 0 { "/" } else { "" })?;
            for part in &component.parts {
                match part {
                    Part::Literal(text) => f.write_str(&String::from_utf8_lossy(text))?,
                    Part::Variable(name) => write!(f, "{{{name}}}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refusals_say_what_to_write() {
        for (text, error) in [
            ("", TemplateError::Empty),
            ("/srv/{user}", TemplateError::Absolute),
            ("%d/%n", TemplateError::Percent),
            ("{a}//{b}", TemplateError::Component(String::new())),
            ("../{b}", TemplateError::Component("..".into())),
            ("{a}/{b", TemplateError::Brace("{b".into())),
            ("{a}/b}", TemplateError::Brace("b}".into())),
            ("{A}", TemplateError::Variable("A".into())),
            ("{a}/{a}", TemplateError::Twice("a".into())),
            ("{a}{b}", TemplateError::SideBySide("{a}{b}".into())),
            ("a\tb", TemplateError::Control),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
        assert!(Template::parse(&"a/".repeat(16)[..31]).is_ok());
        assert_eq!(Template::parse(&format!("{}a", "a/".repeat(16))), Err(TemplateError::TooDeep(17)));
    }

    #[test]
    fn names_are_taken_apart() {
        let values = |template: &str, name: &str| {
            let template = Template::parse(template).unwrap();
            let names = [name.as_bytes()];
            let values = template.values(names.into_iter())?;
            Some(
                values.iter().map(|(n, v)| format!("{n}={}", String::from_utf8_lossy(v))).collect::<Vec<_>>(),
            )
        };
        assert_eq!(values("{user}@{domain}", "a@b@c").unwrap(), ["user=a", "domain=b@c"]);
        assert_eq!(values("{user}.mail", "a.mail.mail").unwrap(), ["user=a.mail"]);
        assert_eq!(values("x-{a}-y", "x-1-y").unwrap(), ["a=1"]);
        for (template, name) in
            [("{user}.mail", ".mail"), ("{user}", ".hidden"), ("{user}", "lost+found"), ("{a}-{b}", "a-")]
        {
            assert_eq!(values(template, name), None, "{template} {name}");
        }
        assert!(values(".{user}", ".anna").is_some());
    }

    proptest! {
        #[test]
        fn a_template_reads_back_and_matches_what_it_rendered(text in "([a-z./]|\\{[a-z]\\}){1,20}", name in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(template.to_string(), text);
                for component in template.components() {
                    component.matches(&name);
                }
            }
        }
    }
}
