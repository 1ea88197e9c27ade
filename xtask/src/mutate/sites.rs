//! Where the source names a memory ordering.
//!
//! A site is one `Ordering::X` in the text, be it an argument of an atomic
//! operation or of a function that passes it on. Sites are found in the syntax
//! tree, so that each knows its function, its operation and which argument it
//! is; and every `Ordering::X` among the tokens must have been found, or the
//! file is refused: a site in a place that the tree does not show (a macro's
//! own grammar, a pattern) would go untested without a word.

use std::collections::BTreeMap;
use std::ops::Range;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemTrait, Token, TraitItemFn};

/// A memory ordering, as the source names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Order {
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    SeqCst,
}

impl Order {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "Relaxed" => Self::Relaxed,
            "Acquire" => Self::Acquire,
            "Release" => Self::Release,
            "AcqRel" => Self::AcqRel,
            "SeqCst" => Self::SeqCst,
            _ => return None,
        })
    }

    /// As the source names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relaxed => "Relaxed",
            Self::Acquire => "Acquire",
            Self::Release => "Release",
            Self::AcqRel => "AcqRel",
            Self::SeqCst => "SeqCst",
        }
    }
}

/// One ordering in the source.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// `Body::insert`, as far as the syntax tells.
    pub(crate) function: String,
    /// The method or function whose argument it is.
    pub(crate) operation: String,
    /// What the operation is called on: `line.head`.
    pub(crate) receiver: String,
    /// Which argument it is, from 0.
    pub(crate) argument: usize,
    /// Which of several such in its function, from 0.
    pub(crate) ordinal: usize,
    /// The ordering.
    pub(crate) order: Order,
    /// Its bytes in the file.
    pub(crate) bytes: Range<usize>,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// The bytes of the whole statement, if that is a fence and no more.
    pub(crate) fence: Option<Range<usize>>,
}

impl Site {
    /// What it is called in keys and reports: `Gate::is_open load`.
    pub(crate) fn name(&self) -> String {
        let ordinal = match self.ordinal {
            0 => String::new(),
            n => format!(" #{}", n + 1),
        };
        let argument = match (
            self.operation.starts_with("compare_exchange"),
            self.argument,
        ) {
            (true, 2) => " success",
            (true, 3) => " failure",
            _ => "",
        };
        format!("{} {}{argument}{ordinal}", self.function, self.operation)
    }
}

/// A function, so that one can tell whether its code has changed.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    /// Its bytes.
    pub(crate) bytes: Range<usize>,
    /// A hash of its tokens: comments and layout do not count.
    pub(crate) code: String,
}

/// What a file has.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The orderings, as they stand.
    pub(crate) sites: Vec<Site>,
    /// Its functions by name; those of one name are one.
    pub(crate) functions: BTreeMap<String, Vec<Function>>,
}

impl Found {
    /// The hash of the code that bears this name.
    pub(crate) fn code(&self, function: &str) -> Option<String> {
        let all = self.functions.get(function)?;
        let codes: Vec<&str> = all.iter().map(|f| f.code.as_str()).collect();
        Some(codes.join("+"))
    }
}

/// Finds them in the text of one file.
///
/// # Errors
/// Why not all of them can be found.
pub(crate) fn find(text: &str) -> Result<Found, String> {
    let file = syn::parse_file(text).map_err(|e| format!("it does not parse: {e}"))?;
    let mut finder = Finder::default();
    finder.visit_file(&file);
    let among_tokens = count(file.to_token_stream()) - finder.in_tests;
    if let Some(why) = finder.refused.pop() {
        return Err(why);
    }
    if among_tokens != finder.found.sites.len() {
        return Err(format!(
            "{among_tokens} orderings in the text, but {} are arguments: one is a pattern, \
             a constant or in a macro that is not like a call",
            finder.found.sites.len()
        ));
    }
    let mut seen: BTreeMap<(String, String, usize), usize> = BTreeMap::new();
    for site in &mut finder.found.sites {
        let key = (site.function.clone(), site.operation.clone(), site.argument);
        let n = seen.entry(key).or_default();
        site.ordinal = *n;
        *n += 1;
    }
    Ok(finder.found)
}

#[derive(Default)]
struct Finder {
    found: Found,
    /// The types and functions around, outermost first.
    around: Vec<String>,
    /// Operation, receiver and argument, innermost last.
    calls: Vec<(String, String, usize)>,
    /// The statement around, if it is a fence.
    fence: Option<Range<usize>>,
    /// Orderings in tests, which nobody weakens.
    in_tests: usize,
    refused: Vec<String>,
}

impl Finder {
    fn function(&self) -> String {
        self.around.join("::")
    }

    fn enter(
        &mut self,
        name: String,
        code: Option<(Range<usize>, TokenStream)>,
        f: impl FnOnce(&mut Self),
    ) {
        self.around.push(name);
        if let Some((bytes, tokens)) = code {
            let code = hash(&tokens.to_string());
            self.found
                .functions
                .entry(self.function())
                .or_default()
                .push(Function { bytes, code });
        }
        f(self);
        self.around.pop();
    }

    /// Skips what only tests have; true if it is that.
    fn skip(&mut self, attributes: &[Attribute], tokens: impl FnOnce() -> TokenStream) -> bool {
        let test = attributes.iter().any(only_in_tests);
        if test {
            self.in_tests += count(tokens());
        }
        test
    }

    fn arguments<'a>(
        &mut self,
        operation: &str,
        receiver: &str,
        all: impl Iterator<Item = &'a Expr>,
    ) {
        for (i, argument) in all.enumerate() {
            self.calls.push((operation.into(), receiver.into(), i));
            self.visit_expr(argument);
            self.calls.pop();
        }
    }
}

/// `#[cfg(test)]`, `#[cfg(all(test, ...))]` and `#[test]`.
fn only_in_tests(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    let Ok(list) = attribute.meta.require_list() else {
        return false;
    };
    let inner = list.tokens.to_string();
    list.path.is_ident("cfg")
        && (inner == "test" || inner.replace(' ', "").starts_with("all(test,"))
}

impl<'a> Visit<'a> for Finder {
    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !self.skip(&item.attrs, || item.to_token_stream()) {
            let name = item.ident.to_string();
            self.enter(name, None, |f| visit::visit_item_mod(f, item));
        }
    }

    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(path) => path
                .path
                .segments
                .last()
                .map_or_else(String::new, |s| s.ident.to_string()),
            other => squeeze(&other.to_token_stream().to_string()),
        };
        self.enter(name, None, |f| visit::visit_item_impl(f, item));
    }

    fn visit_item_trait(&mut self, item: &'a ItemTrait) {
        let name = item.ident.to_string();
        self.enter(name, None, |f| visit::visit_item_trait(f, item));
    }

    fn visit_item_fn(&mut self, item: &'a ItemFn) {
        if self.skip(&item.attrs, || item.to_token_stream()) {
            return;
        }
        let code = (item.span().byte_range(), item.to_token_stream());
        let name = item.sig.ident.to_string();
        self.enter(name, Some(code), |f| visit::visit_item_fn(f, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        let code = (item.span().byte_range(), item.to_token_stream());
        let name = item.sig.ident.to_string();
        self.enter(name, Some(code), |f| visit::visit_impl_item_fn(f, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        let code = (item.span().byte_range(), item.to_token_stream());
        let name = item.sig.ident.to_string();
        self.enter(name, Some(code), |f| visit::visit_trait_item_fn(f, item));
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let text = squeeze(&item.to_token_stream().to_string());
        if text.contains("Ordering::") || text.contains("Ordering as ") {
            self.refused.push(format!(
                "`{text}` gives an ordering a name of its own; write `Ordering::X` in full"
            ));
        }
    }

    fn visit_stmt(&mut self, stmt: &'a syn::Stmt) {
        if let syn::Stmt::Expr(Expr::Call(call), Some(_)) = stmt
            && squeeze(&call.func.to_token_stream().to_string()).ends_with("fence")
        {
            self.fence = Some(stmt.span().byte_range());
        }
        visit::visit_stmt(self, stmt);
        self.fence = None;
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
        let receiver = squeeze(&call.receiver.to_token_stream().to_string());
        self.arguments(&call.method.to_string(), &receiver, call.args.iter());
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        self.visit_expr(&call.func);
        let name = squeeze(&call.func.to_token_stream().to_string());
        let name = name.rsplit("::").next().unwrap_or_default().to_owned();
        self.arguments(&name, "", call.args.iter());
    }

    fn visit_macro(&mut self, mac: &'a syn::Macro) {
        if count(mac.tokens.clone()) == 0 {
            return;
        }
        let Ok(arguments) = mac.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated)
        else {
            return; // The count of tokens will tell.
        };
        // The tree must not outlive this call, so it is not visited as `'a`.
        let mut inner = Finder {
            around: std::mem::take(&mut self.around),
            calls: std::mem::take(&mut self.calls),
            ..Finder::default()
        };
        for argument in &arguments {
            inner.visit_expr(argument);
        }
        self.around = inner.around;
        self.calls = inner.calls;
        self.found.sites.append(&mut inner.found.sites);
        self.refused.append(&mut inner.refused);
    }

    fn visit_expr_path(&mut self, path: &'a syn::ExprPath) {
        let mut names = path.path.segments.iter().rev().map(|s| s.ident.to_string());
        let (Some(last), Some(before)) = (names.next(), names.next()) else {
            return;
        };
        let Some(order) = Order::of(&last).filter(|_| before == "Ordering") else {
            return;
        };
        let Some((operation, receiver, argument)) = self.calls.last().cloned() else {
            self.refused.push(format!(
                "line {}: Ordering::{last} is no argument of a call",
                path.span().start().line
            ));
            return;
        };
        let site = Site {
            function: self.function(),
            operation,
            receiver,
            argument,
            ordinal: 0,
            order,
            bytes: path.span().byte_range(),
            line: path.span().start().line,
            fence: self.fence.clone(),
        };
        self.found.sites.push(site);
    }
}

/// How many orderings there are among the tokens.
fn count(tokens: TokenStream) -> usize {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut n = 0;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => n += count(group.stream()),
            TokenTree::Ident(name) if name == "Ordering" => {
                if let Some(TokenTree::Ident(variant)) = tokens.get(i + 3)
                    && matches!(&tokens[i + 1], TokenTree::Punct(p) if p.as_char() == ':')
                    && Order::of(&variant.to_string()).is_some()
                {
                    n += 1;
                }
            }
            _ => {}
        }
    }
    n
}

/// Tokens as one would write them, near enough.
fn squeeze(tokens: &str) -> String {
    tokens
        .replace(" :: ", "::")
        .replace(" . ", ".")
        .replace(" (", "(")
        .replace("( ", "(")
        .replace(" )", ")")
        .replace("& ", "&")
        .replace("* ", "*")
        .replace(" ,", ",")
        .replace(" [", "[")
        .trim_start_matches("unsafe { ")
        .replace(" }", "")
}

/// Eight digits that tell one text from another.
pub(crate) fn hash(text: &str) -> String {
    use std::hash::Hasher as _;
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(text.as_bytes());
    format!(
        "{:08x}",
        hasher.finish() as u32 ^ (hasher.finish() >> 32) as u32
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r"
        use x::sync::{AtomicU32, Ordering, fence};
        impl<T> Word<T> {
            fn take(&self) -> bool {
                // Acquire: a comment.
                fence(Ordering::SeqCst);
                assert_eq!(self.0.load(Ordering::Relaxed), 0);
                self.0.compare_exchange(1, 2, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                    && self.0.load(Ordering::Relaxed) == 2
            }
        }
        fn passes(w: &Word) { w.update(Ordering::Acquire, |x| if x.cmp(&1) == cmp::Ordering::Less { 1 } else { 0 }) }
        #[cfg(all(test, not(loom)))]
        mod tests { fn f(a: &A) { a.load(Ordering::SeqCst); } }
    ";

    #[test]
    fn every_site_knows_its_function_and_its_argument() {
        let found = find(TEXT).expect("all are found");
        let seen: Vec<(String, Order)> = found.sites.iter().map(|s| (s.name(), s.order)).collect();
        let want = [
            ("Word::take fence", Order::SeqCst),
            ("Word::take load", Order::Relaxed),
            ("Word::take compare_exchange success", Order::AcqRel),
            ("Word::take compare_exchange failure", Order::Relaxed),
            ("Word::take load #2", Order::Relaxed),
            ("passes update", Order::Acquire),
        ];
        assert_eq!(seen, want.map(|(n, o)| (n.to_owned(), o)));
        for site in &found.sites {
            let text = &TEXT[site.bytes.clone()];
            assert_eq!(text, format!("Ordering::{}", site.order.name()));
        }
        let fence = found.sites[0].fence.clone().expect("a statement");
        assert_eq!(&TEXT[fence], "fence(Ordering::SeqCst);");
        assert_eq!(found.sites[3].receiver, "self.0");
    }

    #[test]
    fn comments_and_layout_do_not_change_the_code() {
        let code = |text: &str| find(text).expect("parses").code("f").expect("is there");
        let plain = code("fn f() { a(1, 2); }");
        assert_eq!(plain, code("fn f()\n{\n    // Why.\n    a(1, 2);\n}"));
        assert_ne!(plain, code("fn f() { a(2, 1); }"));
    }

    #[test]
    fn a_site_that_the_tree_does_not_show_is_refused() {
        let hidden = [
            "fn f(o: Ordering) { match o { Ordering::SeqCst => {} _ => {} } }",
            "fn f() { odd!(a => Ordering::Acquire); }",
            "const O: Ordering = Ordering::Acquire;",
            "use core::sync::atomic::Ordering::Acquire;",
            "use core::sync::atomic::Ordering as O;",
        ];
        for text in hidden {
            assert!(find(text).is_err(), "{text}");
        }
    }
}
